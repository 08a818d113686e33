#pragma once
#include <expat.h>

// The constants of the result are macros and an enum of one name, which Swift can't tell apart.
static inline int edge_xml_parse_whole(XML_Parser parser, const char *bytes, int count) {
    return XML_Parse(parser, bytes, count, 1) == XML_STATUS_OK;
}

// XML_FALSE is a cast, which Swift doesn't import.
static inline void edge_xml_stop(XML_Parser parser) { XML_StopParser(parser, XML_FALSE); }
