//! The document, what is read and answered, and the router say the same.

use super::*;
use crate::api::admin::{Changes, InForce, KeptRequest, LiveExplanation, NoticedBy, Noticing, Plan, Reloaded, Status};
use crate::api::args::Args;
use crate::api::call::Call;
use crate::api::operation::{Audience, Operation};
use std::collections::BTreeSet;

/// Files that never change.
struct Still;

impl Admin for Still {
    fn status(&self) -> Status {
        let watch = Noticing { by: NoticedBy::Off, why: None };
        Status { in_force: InForce::default(), watch, removing: Vec::new(), last_reload: None }
    }
    fn reload(&self, _: &str) -> Doing<Reloaded> {
        Box::pin(async { Ok(Reloaded { in_force: InForce::default(), changed: Vec::new() }) })
    }
    fn plan(&self, _: String) -> Doing<Plan> {
        Box::pin(async {
            Ok(Plan {
                ok: true,
                faults: vec![crate::model::Fault::of_file("a.toml", "odd")],
                warnings: Vec::new(),
                generation: 1,
                digest: None,
                changes: Some(Changes::default()),
                restart: Vec::new(),
                revoke: Some(crate::flow::Revoke::Report),
                revoked: Some(crate::kernel::Revoked::default()),
            })
        })
    }
    fn explain(&self, wanted: Wanted) -> Doing<LiveExplanation> {
        let policy = Policy::compile(&[], &[], &|path| path.to_owned()).unwrap();
        Box::pin(async move {
            let identity = crate::model::Identity::default();
            let now = crate::policy::Asking { identity: &identity, request: None, tables: &(), now: 0 };
            Ok(LiveExplanation {
                why: policy.explain(wanted.does, &wanted.on, &now),
                generation: 1,
                connection: wanted.connection.to_string(),
                app: "clinic".into(),
                user: None,
                endpoint: None,
                request: KeptRequest::NotKept,
            })
        })
    }
}

fn with_files() -> Context<Fake> {
    Context { admin: Some(Arc::new(Still)), ..context(json!([]), json!({}), false) }
}

/// Each way of writing its body: one of the fields that each need names, and all that nothing needs.
fn bodies(operation: Operation) -> Vec<serde_json::Map<String, Value>> {
    let fields = operation.fields();
    let value = |name: &str| -> Value {
        match name {
            // Names that the tests' apps have.
            "app" => json!("clinic"),
            "channel" | "on" => json!("system:a"),
            "channels" => json!(["system:a", "system:b"]),
            _ => serde_json::from_str(fields.iter().find(|f| f.name == name).unwrap().example).unwrap(),
        }
    };
    let needs = operation.needs();
    let needed: BTreeSet<&str> = needs.iter().flat_map(|need| need.names().iter().copied()).collect();
    let free = fields.iter().map(|f| f.name).filter(|name| !needed.contains(name));
    let mut made = vec![free.map(|name| (name.to_owned(), value(name))).collect::<serde_json::Map<_, _>>()];
    for need in needs {
        let each = |body: &serde_json::Map<String, Value>| {
            let with = |name: &&str| body.clone().into_iter().chain([((*name).to_owned(), value(name))]).collect();
            need.names().iter().map(with).collect::<Vec<_>>()
        };
        made = made.iter().flat_map(each).collect();
    }
    made
}

#[tokio::test]
async fn what_a_verb_reads_is_what_its_table_has() {
    for verb in Verb::ALL {
        let table: BTreeSet<&str> = verb.fields().iter().map(|f| f.name).collect();
        let mut asked = BTreeSet::new();
        let more = (verb == Verb::Connections).then(|| json!({ "connection": "550e8400-e29b-41d4-a716-446655440000" }));
        let more = more.map(|body| body.as_object().unwrap().clone());
        for mut body in bodies(Operation::Verb(verb)).into_iter().chain(more) {
            body.retain(|name, _| name != "app" && name != "idempotency_key");
            let text = Value::from(body).to_string();
            let mut args = Args::of_json(&text).unwrap();
            Call::read(verb, &mut args).unwrap_or_else(|fail| panic!("{verb:?} {text}: {}", fail.detail));
            asked.extend(args.asked());
            args.finish().unwrap_or_else(|fail| panic!("{verb:?} {text}: {}", fail.detail));
        }
        assert_eq!(asked, table, "{verb:?}");
    }
}

#[tokio::test]
async fn the_document_and_the_router_have_the_same_paths() {
    let (context, document) = (with_files(), openapi());
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), Operation::all().count());
    for operation in Operation::all() {
        let path = operation.path().replace("{connection}", "550e8400-e29b-41d4-a716-446655440000");
        assert_eq!(Operation::at(&path).map(|(found, _)| found), Some(operation), "{path}");
        let item = paths[&*operation.path()].as_object().unwrap();
        let methods: Vec<&str> = item.keys().map(String::as_str).filter(|key| *key != "servers").collect();
        assert_eq!(methods, [operation.method().as_str().to_lowercase()], "{path}");
        let described = &item[methods[0]];
        assert!(described["summary"].as_str().is_some_and(|s| s.len() > 5), "{path}");
        assert_eq!(described["operationId"], operation.as_str());
        // Somebody answers, and whoever asks otherwise is told how.
        let answered = ask(&context, &format!("admin {} {path}", operation.method()), &[], "").await;
        assert_eq!(answered.0, if operation.audience() == Audience::Probes { 200 } else { 401 }, "{path}");
        let other = handle(&context, request(&format!("admin DELETE {path}"), &[KEY], "")).await;
        assert_eq!((other.status().as_u16(), other.headers()["allow"].is_empty()), (405, false), "{path}");
        let (elsewhere, _) = ask(&context, &format!("main {} {path}", operation.method()), &[], "").await;
        assert_eq!(elsewhere, if operation.audience() == Audience::BackEnds { 401 } else { 404 }, "{path}");
    }
}

#[tokio::test]
async fn what_is_taken_and_answered_fits_its_schema() {
    let document = openapi();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("weir.json", document.clone()).unwrap();
    let mut schemas = boon::Schemas::new();
    let mut fits = |pointer: String, value: &Value| {
        let schema =
            compiler.compile(&format!("weir.json#{pointer}"), &mut schemas).unwrap_or_else(|e| panic!("{e:#}"));
        schemas.validate(value, schema).map_err(|wrong| format!("{value}: {wrong:#}"))
    };
    let mut played = 0;
    for operation in Operation::all().filter(|o| !matches!(o, Operation::Metrics | Operation::Reload)) {
        let path = operation.path();
        let at = format!("/paths/{}/{}", path.replace('/', "~1"), operation.method().as_str().to_lowercase());
        let schema = format!("{at}/responses/200/content/application~1json/schema").replace(['{', '}'], "");
        let schema = schema.replace("connection/get", "%7Bconnection%7D/get");
        let path = path.replace("{connection}", "12345678-9abc-4ef0-8122-334455667788");
        for body in bodies(operation) {
            played += 1;
            let context = with_files();
            let body = Value::from(body);
            let (status, answer) = match operation.method() == Method::POST {
                true => {
                    let taken = format!("{at}/requestBody/content/application~1json/schema");
                    fits(taken.clone(), &body).unwrap();
                    let mut more = body.clone();
                    more["chanel"] = json!("x");
                    assert!(fits(taken, &more).is_err(), "{path}: an unknown name passes");
                    let line = format!("admin POST {path}");
                    assert_eq!(ask(&context, &line, &[KEY], &more.to_string()).await.0, 400, "{path}");
                    ask(&context, &line, &[KEY], &body.to_string()).await
                }
                false => {
                    let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
                    let pairs = body.as_object().unwrap().iter().map(|(name, value)| format!("{name}={}", text(value)));
                    let query = pairs.collect::<Vec<_>>().join("&");
                    ask(&context, &format!("admin GET {path}?{query}"), &[KEY], "").await
                }
            };
            assert_eq!(status, 200, "{path} {body}: {answer}");
            fits(schema.clone(), &answer).unwrap_or_else(|wrong| panic!("{path}: {wrong}"));
        }
    }
    assert!(played > 25, "{played}");
}
