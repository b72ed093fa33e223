//! OpenAPI 3.1 of all that Weir itself answers over HTTP, made from the tables that it answers by: operations and their
//! failures (`operation`), what they take (`field`), what they answer (`answers`, `admin::answers`).

mod bodies;
mod texts;

use self::bodies::{body, capital, parameter, shared};
use super::admin::{LiveExplanation, Plan, Reloaded, Status};
use super::answers::{
    Alive, Changed, ChannelList, Connection, ConnectionList, HistoryPage, Present, Published, Readiness, Sent,
};
use super::fail::{ProblemDetails, Why};
use super::field::Field;
use super::operation::{Audience, Operation};
use super::verb::Verb;
use hyper::Method;
use schemars::generate::{Contract, SchemaSettings};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The document.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.definitions_path = "/components/schemas".into();
        s.contract = Contract::Serialize;
        s.meta_schema = None;
    });
    let mut types = settings.into_generator();
    let (mut paths, mut requests, mut problems) = (Map::new(), Map::new(), Map::new());
    types.subschema_for::<ProblemDetails>();
    for operation in Operation::all() {
        if let Some(request) = request(operation) {
            requests.insert(request_name(operation), request);
        }
        let method = operation.method().as_str().to_lowercase();
        let mut item = json!({ method: described(operation, &mut types, &mut problems) });
        if operation.audience() != Audience::BackEnds {
            item["servers"] = json!([servers()[1]]);
        }
        paths.insert(operation.path().into_owned(), item);
    }
    let mut schemas = types.take_definitions(true);
    schemas.extend(requests);
    schemas.extend(shared().map(|(name, schema)| (name.to_owned(), schema)));
    schemas.insert("AppOfAnswer".into(), json!({
        "type": "object",
        "properties": { "app": { "type": "string", "description": "Which app it was, where the request named none and there are several." } },
    }));
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Weir",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "The HTTP API of an event gateway",
            "description": texts::INFO,
            "license": { "name": "Apache License 2.0", "identifier": "Apache-2.0" },
        },
        "servers": servers(),
        "tags": texts::TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
        "security": [{ "apiKey": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "apiKey": { "type": "http", "scheme": "bearer", "description": texts::API_KEY } },
            "responses": problems,
            "schemas": schemas,
        },
    })
}

fn servers() -> [Value; 2] {
    let server = |port: &str, description: &str| {
        json!({
            "url": "http://{host}:{port}",
            "description": description,
            "variables": { "host": { "default": "127.0.0.1" }, "port": { "default": port } },
        })
    };
    [server("3000", "A listener of apps"), server("9000", "An admin listener: `admin = true`")]
}

fn described(operation: Operation, types: &mut SchemaGenerator, problems: &mut Map<String, Value>) -> Value {
    let (tag, summary, description) = texts::of(operation);
    let mut described = json!({ "operationId": operation.as_str(), "tags": [tag], "summary": summary });
    if !description.is_empty() {
        described["description"] = json!(description);
    }
    if operation.audience() == Audience::Probes {
        described["security"] = json!([]);
    }
    let mut parameters = Vec::new();
    if operation == Operation::Connection {
        parameters.push(parameter(&super::field::CONNECTION, "path", true));
    }
    if operation.method() == Method::GET {
        let fields = operation.fields();
        let needed = |name| operation.needs().iter().any(|need| need.names() == [name]);
        parameters.extend(fields.iter().map(|field| parameter(field, "query", needed(field.name))));
    }
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if has_body(operation) {
        let schema = reference(&request_name(operation));
        described["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    described["responses"] = responses(operation, types, problems);
    described
}

fn has_body(operation: Operation) -> bool {
    operation.method() == Method::POST && operation != Operation::Reload
}

fn request_name(operation: Operation) -> String {
    format!("{}Request", capital(operation.as_str()))
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Of each that has a body, on its own or in a batch.
fn request(operation: Operation) -> Option<Value> {
    let asked = has_body(operation) || matches!(operation, Operation::Verb(_));
    // What has a path of its own is named by a command as well.
    let more = (operation == Operation::Verb(Verb::Connections)).then_some(super::field::CONNECTION);
    let fields: Vec<Field> = operation.fields().into_iter().chain(more).collect();
    asked.then(|| body(&fields, operation.needs()))
}

/// `problems`: components that responses refer to.
fn responses(operation: Operation, types: &mut SchemaGenerator, problems: &mut Map<String, Value>) -> Value {
    let mut responses = Map::new();
    responses.insert("200".into(), match answer(operation, types) {
        Some(schema) => json!({ "description": "Done", "content": { "application/json": { "schema": schema } } }),
        None => json!({ "description": "Prometheus' text format", "content": { "text/plain": { "schema": { "type": "string" } } } }),
    });
    if operation == Operation::Ready {
        let schema = types.subschema_for::<Readiness>();
        let content = json!({ "application/json": { "schema": schema } });
        responses.insert("503".into(), json!({ "description": "Not ready", "content": content }));
    }
    let fails = operation.fails();
    let mut statuses: Vec<u16> = fails.iter().map(|why| why.status()).chain([400]).collect();
    statuses.extend(has_body(operation).then_some(415));
    statuses.sort_unstable();
    statuses.dedup();
    for status in statuses {
        let codes: Vec<Why> = fails.iter().copied().filter(|why| why.status() == status).collect();
        let (name, response) = problem(status, &codes);
        responses.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/{name}") }));
        problems.insert(name, response);
    }
    responses.into()
}

/// What a status stands for where these are its codes, and the name of its component.
fn problem(status: u16, codes: &[Why]) -> (String, Value) {
    let http = match status {
        400 => Some("without a code: no HTTP request that Weir reads, or `Host` is missing".to_owned()),
        415 => Some("without a code: the body is compressed (`Content-Encoding`)".to_owned()),
        _ => None,
    };
    let told = codes.iter().map(|why| format!("`{}`: {}", why.as_str(), why.title()));
    let description = told.chain(http).collect::<Vec<_>>().join("; ");
    let content = json!({ ProblemDetails::KIND: { "schema": reference("ProblemDetails") } });
    let mut response = json!({ "description": description, "content": content });
    let header = |says: &str, kind: &str| json!({ "description": says, "schema": { "type": kind } });
    match status {
        401 => response["headers"] = json!({ "WWW-Authenticate": header("`Bearer`", "string") }),
        429 | 503 => response["headers"] = json!({ "Retry-After": header("In seconds", "integer") }),
        _ => {}
    }
    let names: Vec<String> = codes.iter().map(|why| capital(why.as_str())).collect();
    (if names.is_empty() { format!("Http{status}") } else { names.join("Or") }, response)
}

/// The schema of what it answers; `None`: it is no JSON.
fn answer(operation: Operation, types: &mut SchemaGenerator) -> Option<Value> {
    let schema: Schema = match operation {
        Operation::Verb(verb) => of_verb(verb, types),
        Operation::Connection => types.subschema_for::<Connection>(),
        Operation::Batch => return Some(replies(types)),
        Operation::Config => types.subschema_for::<Status>(),
        Operation::Reload => types.subschema_for::<Reloaded>(),
        Operation::Plan => types.subschema_for::<Plan>(),
        Operation::Explain => types.subschema_for::<LiveExplanation>(),
        Operation::Alive => types.subschema_for::<Alive>(),
        Operation::Ready => types.subschema_for::<Readiness>(),
        Operation::Metrics => return None,
    };
    Some(match operation {
        Operation::Verb(_) | Operation::Connection => json!({ "allOf": [schema, reference("AppOfAnswer")] }),
        _ => schema.into(),
    })
}

fn of_verb(verb: Verb, types: &mut SchemaGenerator) -> Schema {
    match verb {
        Verb::Publish => types.subschema_for::<Published>(),
        Verb::Broadcast | Verb::Send => types.subschema_for::<Sent>(),
        Verb::Subscribe | Verb::Unsubscribe | Verb::Disconnect | Verb::Cleanup => types.subschema_for::<Changed>(),
        Verb::Presence => types.subschema_for::<Present>(),
        Verb::History => types.subschema_for::<HistoryPage<'static>>(),
        Verb::Channels => types.subschema_for::<ChannelList>(),
        Verb::Connections => types.subschema_for::<ConnectionList>(),
    }
}

/// One answer for each command: its verb's, or why not.
fn replies(types: &mut SchemaGenerator) -> Value {
    let mut each: Map<String, Value> =
        Verb::ALL.into_iter().map(|verb| (verb.as_str().to_owned(), of_verb(verb, types).into())).collect();
    // Where a command names a connection, it asks for that one.
    each["connections"] = json!({ "anyOf": [each["connections"], types.subschema_for::<Connection>()] });
    each.insert("error".into(), types.subschema_for::<ProblemDetails>().into());
    let reply = json!({ "type": "object", "properties": each, "additionalProperties": false, "minProperties": 1, "maxProperties": 1 });
    let replies = json!({ "type": "array", "items": reply, "description": "In the order of the commands." });
    json!({ "type": "object", "properties": { "replies": replies }, "required": ["replies"] })
}
