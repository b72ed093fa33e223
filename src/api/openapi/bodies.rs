//! What operations take, as JSON Schema: as strict as reading is.

use crate::api::call::CODES;
use crate::api::field::{Field, Required, Takes};
use crate::api::filter::NAMES_MAX;
use crate::api::handle::BATCH_MAX;
use crate::api::verb::Verb;
use crate::model::ChannelName;
use serde_json::{Map, Value, json};

/// A segment of a channel's name.
const SEGMENT: &str = r"[^:\u0000-\u001f\u007f-\u009f]+";
/// A segment of a pattern.
const PATTERN: &str = r"(\*|[^:*{}\u0000-\u001f\u007f-\u009f]+)";
/// A UUID of version 4, or the ids that the report builder's clients know.
const CONNECTION: &str =
    "^([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}|ws_[0-9]{1,15}_[0-9a-z]{9})$";

/// What several operations take, under the name of its component.
pub fn shared() -> [(&'static str, Value); 5] {
    let most = ChannelName::SEGMENTS_MAX - 1;
    let name = |segment: &str, says: &str| {
        let pattern = format!("^{segment}(:{segment}){{0,{most}}}$");
        let bytes_max = ChannelName::BYTES_MAX;
        json!({ "type": "string", "maxLength": bytes_max, "pattern": pattern, "description": format!("{says} {bytes_max} bytes at most.") })
    };
    [
        ("ChannelName", name(SEGMENT, "A channel's name.")),
        ("ChannelPattern", name(PATTERN, "A pattern of channels: `*` is one segment.")),
        ("ConnectionId", json!({ "type": "string", "pattern": CONNECTION })),
        ("Json", anything()),
        ("Filter", filter()),
    ]
}

fn component(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// `in_body`: a number may be a text of digits, as templates of routes make them.
fn schema(takes: Takes, in_body: bool) -> Value {
    match takes {
        Takes::Channel => component("ChannelName"),
        Takes::Channels => one_or_several(component("ChannelName")),
        Takes::Pattern => component("ChannelPattern"),
        Takes::Connection => component("ConnectionId"),
        Takes::Position => json!({ "type": "string", "pattern": "^[0-9a-f]{1,8}:[0-9]{1,19}$" }),
        Takes::Text(min, max) => {
            let mut text = json!({ "type": "string" });
            if min > 0 {
                text["minLength"] = json!(min);
            }
            if let Some(max) = max {
                text["maxLength"] = json!(max);
            }
            text
        }
        Takes::Word(words) => json!({ "type": "string", "enum": words }),
        Takes::Number => {
            let number = json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
            match in_body {
                true => json!({ "anyOf": [number, { "type": "string", "pattern": "^[0-9]{1,19}$" }] }),
                false => number,
            }
        }
        Takes::CloseCode => {
            let number = |(min, max): (u16, u16)| json!({ "type": "integer", "minimum": min, "maximum": max });
            let text = json!({ "type": "string", "pattern": "^(100[0-3]|100[7-9]|101[0-4]|[34][0-9]{3})$" });
            let codes = CODES.map(|range| number((*range.start(), *range.end())));
            json!({ "anyOf": codes.into_iter().chain([text]).collect::<Vec<_>>() })
        }
        Takes::Json => component("Json"),
        Takes::Path => json!({ "type": "string", "pattern": "^/" }),
        Takes::Filter => component("Filter"),
        Takes::Commands => commands(),
    }
}

/// But null.
fn anything() -> Value {
    json!({ "type": ["object", "array", "string", "number", "boolean"] })
}

fn one_or_several(one: Value) -> Value {
    json!({ "anyOf": [one, { "type": "array", "items": one, "maxItems": NAMES_MAX }] })
}

fn filter() -> Value {
    let values = json!({ "anyOf": [
        { "type": ["object", "string", "number", "boolean"] },
        { "type": "array", "items": component("Json"), "maxItems": NAMES_MAX },
    ] });
    let claims = json!({
        "type": "object", "additionalProperties": values, "minProperties": 1, "maxProperties": NAMES_MAX,
        "description": "By claim: a value, or several of which any will do.",
    });
    json!({
        "type": "object",
        "properties": {
            "users": one_or_several(json!({ "type": "string" })), "claims": claims, "channels": one_or_several(component("ChannelName")),
        },
        "additionalProperties": false,
        "minProperties": 1,
    })
}

fn commands() -> Value {
    let request = |verb: Verb| component(&format!("{}Request", capital(verb.as_str())));
    let each: Map<String, Value> = Verb::ALL.into_iter().map(|v| (v.as_str().to_owned(), request(v))).collect();
    let command = json!({ "type": "object", "properties": each, "additionalProperties": false, "minProperties": 1, "maxProperties": 1 });
    json!({ "type": "array", "items": command, "maxItems": BATCH_MAX })
}

/// What may be left out may be null.
fn or_null(mut schema: Value) -> Value {
    match schema.get("type") {
        Some(Value::String(kind)) => {
            schema["type"] = json!([kind, "null"]);
            if let Some(Value::Array(words)) = schema.get_mut("enum") {
                words.push(Value::Null);
            }
            schema
        }
        _ => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

/// The schema of a body.
pub fn body(fields: &[Field], needs: &[Required]) -> Value {
    let required: Vec<&str> =
        needs.iter().filter_map(|n| if let [only] = n.names() { Some(*only) } else { None }).collect();
    let mut properties = Map::new();
    for field in fields {
        let own = schema(field.takes, true);
        // A filter of null is no filter that was left out: a program computed it, and found nothing.
        let keeps = required.contains(&field.name) || matches!(field.takes, Takes::Filter);
        let mut own = if keeps { own } else { or_null(own) };
        own["description"] = says(field).into();
        own["examples"] = json!([example(field)]);
        properties.insert(field.name.to_owned(), own);
    }
    let mut made = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        made["required"] = json!(required);
    }
    let groups: Vec<Value> = needs.iter().filter(|n| n.names().len() > 1).map(|need| group(need, fields)).collect();
    if !groups.is_empty() {
        made["allOf"] = groups.into();
    }
    made
}

fn group(need: &Required, fields: &[Field]) -> Value {
    let given = |name: &&str| {
        let takes = fields.iter().find(|field| field.name == *name).map(|field| field.takes);
        let mut own = schema(takes.unwrap_or(Takes::Json), true);
        // No channel at all is none, however it is written.
        if matches!(takes, Some(Takes::Channels)) {
            own["anyOf"][1]["minItems"] = json!(1);
        }
        json!({ "required": [name], "properties": { *name: own } })
    };
    let each: Vec<Value> = need.names().iter().map(given).collect();
    match need {
        Required::Any(_) => json!({ "anyOf": each }),
        Required::One(_) => json!({ "oneOf": each }),
    }
}

/// A parameter of a query or a path.
pub fn parameter(field: &Field, place: &str, required: bool) -> Value {
    json!({
        "name": field.name, "in": place, "required": required, "description": says(field),
        "schema": schema(field.takes, false), "example": example(field),
    })
}

/// JSON Schema counts characters.
fn says(field: &Field) -> String {
    match field.takes {
        Takes::Text(_, Some(max)) => format!("{} {max} bytes at most.", field.says),
        _ => field.says.to_owned(),
    }
}

fn example(field: &Field) -> Value {
    serde_json::from_str(field.example).unwrap_or_default()
}

/// `admin_plan` → `AdminPlan`
pub fn capital(word: &str) -> String {
    let capital = |part: &str| part[..1].to_uppercase() + &part[1..];
    word.split('_').map(capital).collect()
}
