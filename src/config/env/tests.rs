use super::*;
use crate::config::file::{AppFile, GatewayFile};
use crate::config::{de, shape};

const GATEWAY: &str = "mode = \"development\"\n[listener.main]\naddress = \"127.0.0.1:3000\"\n\
    [listener.eu-west]\naddress = \"127.0.0.1:3001\"\n[limits]\nconnections = 5\n";
const APP: &str = "listener = \"main\"\n[env]\nPORT = \"listener.main.port\"\nPAYLOAD = \"limits.message_bytes\"\n\
    IDLE = \"limits.idle_timeout\"\nURL = \"settings.url\"\nTTL = \"auth.hmac.ttl\"\n\
    [settings]\nurl = \"here\"\nring_ms = 1\nlist = [\"a\"]\n[auth.hmac]\ntype = \"hmac\"\nsecret = { env = \"S\" }\n";

/// The files under an environment, and what was wrong with it.
fn with(env: &[(&str, &str)]) -> (GatewayFile, AppFile, Vec<String>) {
    let (gateway_schema, app_schema) = (Schema::of::<GatewayFile>(), Schema::of::<AppFile>());
    let mut faults = Vec::new();
    let mut gateway = Doc::parse("gateway.toml", GATEWAY, &mut faults);
    let mut apps = [("clinic".to_owned(), Doc::parse("channels/clinic.toml", APP, &mut faults))];
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let mut files =
        Files { gateway: &mut gateway, gateway_schema: &gateway_schema, apps: &mut apps, app_schema: &app_schema };
    let applied = apply(&mut files, &env);
    faults.extend(applied.faults);
    faults.extend(applied.warnings);
    shape::check(&gateway, &gateway_schema, &[], &mut faults);
    shape::check(&apps[0].1, &app_schema, &[], &mut faults);
    let told = faults.iter().map(Fault::to_string).collect();
    (de::read(&gateway.root).unwrap_or_default(), de::read(&apps[0].1.root).unwrap_or_default(), told)
}

#[test]
fn a_key_of_any_depth_is_overridden_with_its_type() {
    let (gateway, _, told) = with(&[
        ("WEIR_MODE", "production"),
        ("WEIR_SHARDS", "3"),
        ("WEIR_LISTENER__MAIN__ADDRESS", "0.0.0.0:80"),
        ("WEIR_LISTENER__EU_WEST__ADMIN", "true"),
        ("WEIR_LIMITS__CONNECTIONS", "1_000"),
        ("WEIR_LIMITS__MESSAGES__BURST", "7"),
        ("WEIR_LIMITS__MESSAGES__PER", "2s"),
        ("WEIR_LIMITS__ATTEMPTS_PER_IP", "{ burst = 9, per = \"1m\" }"),
        ("WEIR_HTTP__ORIGINS", "https://a.example, https://b.example"),
        ("WEIR_HTTP__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
        ("WEIR_LIMITS__IDLE_TIMEOUT", "off"),
        ("WEIR_API_KEY", "a secret, no setting"),
        ("OTHER", "x"),
    ]);
    assert_eq!(told, [""; 0]);
    assert_eq!(gateway.mode, crate::config::Mode::Production);
    assert_eq!(gateway.listener["main"].address, "0.0.0.0:80");
    assert!(gateway.listener["eu-west"].admin);
    assert_eq!((gateway.limits.a.connections, gateway.limits.a.attempts_per_ip.burst), (1_000, 9));
    assert_eq!((gateway.limits.b.messages.burst, gateway.limits.b.messages.per.0), (7, 2_000));
    assert_eq!(gateway.limits.b.idle_timeout.0, None);
    assert_eq!(gateway.http.origins, ["https://a.example", "https://b.example"]);
    assert_eq!(gateway.http.trusted_proxies, ["10.0.0.0/8"]);
}

#[test]
fn an_app_is_changed_by_the_names_of_its_documents() {
    let (gateway, app, told) = with(&[
        ("PORT", "8080"),
        ("PAYLOAD", "2048"),
        ("IDLE", "60000"),
        ("URL", "there"),
        ("TTL", "5000"),
        ("WEIR_APP__CLINIC__RING_MS", "30_000"),
        ("WEIR_APP__CLINIC__LIST", "b,c"),
    ]);
    assert_eq!(told, [""; 0]);
    assert_eq!(gateway.listener["main"].address, "127.0.0.1:8080");
    assert_eq!(app.limits.message_bytes.map(|s| s.0), Some(2048));
    assert_eq!(app.limits.idle_timeout.map(|t| t.0), Some(Some(60_000)));
    assert_eq!(serde_json::to_string(&app.settings).unwrap(), r#"{"url":"there","ring_ms":30000,"list":["b","c"]}"#);
    assert!(format!("{:?}", app.auth["hmac"]).contains("ttl: Ms(5000)"));
}

#[test]
fn a_wrong_variable_is_told_by_its_name() {
    let told = |name: &str, text: &str| with(&[(name, text)]).2.join("\n");
    assert_eq!(
        told("PORT", "80 80"),
        "environment: PORT: `80 80` is no port\n  expected a whole number from 0 to 65535"
    );
    assert!(
        told("IDLE", "soon").starts_with("environment: IDLE: `idle_timeout` cannot be `soon`\n  expected a duration")
    );
    assert!(told("WEIR_MOED", "production").contains("did you mean `WEIR_MODE`?"));
    assert!(told("WEIR_LIMITS", "5").is_empty());
    assert!(told("WEIR_LIMITS__", "5").contains("unknown key ``"));
    assert!(told("WEIR_MODE__X", "5").contains("unknown key `x` in [mode]"));
    assert!(told("WEIR_APP__CLINIC", "5").contains("no setting is named"));
    // An empty variable of an app's document is one that is not set.
    assert_eq!(told("PORT", ""), "");
}

#[test]
fn what_kubernetes_sets_for_a_service_is_not_meant() {
    let told = |env: &[(&str, &str)]| with(env).2;
    let links = [
        ("WEIR_PORT", "tcp://10.96.12.7:80"),
        ("WEIR_PORT_80_TCP", "tcp://10.96.12.7:80"),
        ("WEIR_PORT_80_TCP_ADDR", "10.96.12.7"),
        ("WEIR_PORT_80_TCP_PROTO", "tcp"),
        ("WEIR_SERVICE_HOST", "10.96.12.7"),
        ("WEIR_SERVICE_PORT_HTTP", "80"),
        ("WEIR_MODE_PORT", "udp://10.96.12.7:80"),
    ];
    assert_eq!(told(&links), [""; 0]);
    let (gateway, _, told_of_port) = with(&[("PORT", "tcp://10.96.12.7:80"), ("IDLE", " ")]);
    assert_eq!(gateway.listener["main"].address, "127.0.0.1:3000");
    assert!(
        matches!(&told_of_port[..], [one] if one.starts_with("environment: PORT: `tcp://10.96.12.7:80` is ignored")),
        "{told_of_port:?}"
    );
    // An empty one is none; another that nothing knows is still a slip.
    assert_eq!(told(&[("WEIR_MODE", ""), ("WEIR_LIMITS__CONNECTIONS", " ")]), [""; 0]);
    assert!(told(&[("WEIR_LIMITS__CONECTIONS", "5")])[0].contains("did you mean `WEIR_LIMITS__CONNECTIONS`?"));
}
