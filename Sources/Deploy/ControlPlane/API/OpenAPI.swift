internal import Host

/// The description of the API (OpenAPI 3.1), made of the table that routes its requests.
package enum OpenAPI {
    /// Serves the document, to everybody: it tells no more than the sources do.
    package static func operation(for operations: [APIOperation], version: String) -> APIOperation {
        let bytes = document(operations, version: version).bytes
        return APIOperation(
            "GET", "/openapi.json", id: "openapi.get", "This document", .everybody, result: .raw(about: "This document.")
        ) { _ in
            .raw(LocalResponse(status: 200, headers: [("content-type", "application/json")], body: .bytes(bytes)))
        }
    }

    static func document(_ operations: [APIOperation], version: String) -> JSON {
        var paths: [JSON.Member] = []
        var seen: Set<String> = []
        for operation in operations where seen.insert(operation.path.text).inserted {
            let same = operations.filter { $0.path.text == operation.path.text }
            paths.append(
                JSON.Member(
                    name: operation.path.text.replacing("+}", with: "}"),
                    value: .object(same.map { JSON.Member(name: $0.method.lowercased(), value: describe($0)) })))
        }
        return .object([
            "openapi": "3.1.0",
            "info": .object(["title": "edge control plane", "version": .string(version)]),
            "servers": .array([.object(["url": .string(API.prefix)])]),
            "security": .array([.object(["token": .array([])])]),
            "paths": .object(paths),
            "components": .object([
                "securitySchemes": .object(["token": .object(["type": "http", "scheme": "bearer"])]),
                "schemas": .object(["Failure": failure]),
            ]),
        ])
    }

    private static func describe(_ operation: APIOperation) -> JSON {
        let names = operation.path.names.map { name in
            JSON.object([
                "name": .string(name), "in": "path", "required": true,
                "schema": .object(["type": "string", "minLength": 1]),
            ])
        }
        let query = operation.query.map { parameter in
            JSON.object([
                "name": .string(parameter.name), "in": "query", "required": false,
                "description": .string(parameter.about), "schema": parameter.schema.json,
            ])
        }
        let body: JSON? =
            switch operation.body {
            case .none: nil
            case .json(let schema, _): content("application/json", schema.json, isRequired: schema.ofNothing.isEmpty)
            case .stream(_, let type, let schema):
                content(type, schema?.json ?? .object([]), isRequired: operation.method != "DELETE")
            }
        let success: JSON =
            switch operation.result {
            case .json(let schema):
                .object([
                    "description": "What was asked for.",
                    "content": .object(["application/json": .object(["schema": envelope(schema)])]),
                ])
            case .raw(let about):
                .object(["description": .string(about), "content": .object(["*/*": .object(["schema": .object([])])])])
            }
        return .object([
            "operationId": .string(operation.id), "summary": .string(operation.summary),
            "parameters": names.isEmpty && query.isEmpty ? nil : .array(names + query), "requestBody": body,
            "responses": .object([
                "200": success,
                "default": .object([
                    "description": "A failure.",
                    "content": .object([
                        "application/json": .object(["schema": .object(["$ref": "#/components/schemas/Failure"])])
                    ]),
                ]),
            ]),
        ])
    }

    private static func content(_ type: String, _ schema: JSON, isRequired: Bool) -> JSON {
        .object([
            "required": .bool(isRequired),
            "content": .object([JSON.Member(name: type, value: .object(["schema": schema]))]),
        ])
    }

    private static let message = APISchema.object([
        .required("code", .integer()), .required("message", .string()),
    ])

    private static func envelope(_ result: APISchema) -> JSON {
        APISchema.object([
            .required("success", .bool), .required("errors", .array(message)), .required("messages", .array(message)),
            .optional("result", result), .optional("result_info", .any),
        ]).json
    }

    private static var failure: JSON {
        APISchema.object([
            .required("success", .bool), .required("errors", .array(message)), .required("messages", .array(message)),
            .required("result", .nullable(.any)),
        ]).json
    }
}
