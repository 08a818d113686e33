// Collaboration decides what happens in a room where people edit one text and talk: how concurrent edits become one text, who
// may do what, who hears of it. It has no sockets, no clock and no database of its own; those it is given as values and as a
// small protocol, by the objects of WebSocketService.
