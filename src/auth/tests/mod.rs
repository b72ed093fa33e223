//! What the tests of this room share: keys made on the spot, tokens, and a source that answers when it is told to.

mod keys;
mod rotation;
mod rows;
mod settings;
mod stamps;
mod tokens;
mod trusted;

use super::*;
use crate::model::{Identity, Millis, Mono, Now, Problem, Secret, SecretSource};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use rcgen::KeyPair;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// The time in most tests: 2024-01-07T10:30:00Z.
const NOW: Millis = 1_704_623_400_000;
const SECRET: &str = "a secret of thirty-two bytes, at least";

fn parse<T: DeserializeOwned>(settings: Value) -> T {
    serde_json::from_value(settings).unwrap()
}

/// `{ env = "X" }` is the text `X` itself.
fn resolve(from: &SecretSource, _: crate::auth::Purpose) -> Result<Secret, String> {
    match from {
        SecretSource::Env(text) | SecretSource::File(text) => Ok(Secret::new(text.as_bytes())),
    }
}

fn keys(settings: Value) -> Result<Keys, Vec<Problem>> {
    Keys::compile(&parse(settings), &resolve, &Fetcher::new(Handle::current()), None)
}

fn tables(settings: Value) -> Result<Tables, Vec<Problem>> {
    Tables::compile(&parse(settings), &|_| Err("no files".into()), &resolve, &Fetcher::new(Handle::current()), None)
}

fn auth_with(settings: Value, keys: &Keys, tables: &Tables) -> Authenticator {
    Authenticator::compile("test", &parse(settings), keys, tables, &resolve).unwrap()
}

/// With the key `jwt`, an HS256 secret.
fn auth(settings: Value) -> Authenticator {
    let keys = keys(json!({ "jwt": { "algorithms": ["HS256"], "secret": { "env": SECRET } } })).unwrap();
    auth_with(settings, &keys, &Tables::default())
}

/// A token's text from its header and claims as they are.
fn signed(header: Value, claims: &Value, key: &EncodingKey, alg: jsonwebtoken::Algorithm) -> String {
    let part = |v: &Value| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, v.to_string());
    let message = format!("{}.{}", part(&header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, alg).unwrap();
    format!("{message}.{signature}")
}

/// HS256 with `SECRET`.
fn hs256(claims: Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    signed(json!({ "alg": "HS256", "typ": "JWT" }), &claims, &key, jsonwebtoken::Algorithm::HS256)
}

/// A time as claims write it, `seconds` from now.
fn at(seconds: i64) -> i64 {
    (NOW / 1000) as i64 + seconds
}

async fn show(auth: &Authenticator, token: &str) -> Outcome {
    auth.authenticate(&Credentials::of_message(token), Now::at(NOW)).await
}

async fn admitted(auth: &Authenticator, token: &str) -> Arc<Identity> {
    match show(auth, token).await {
        Outcome::Identity(identity) => identity,
        other => panic!("{other:?}"),
    }
}

async fn refused(auth: &Authenticator, token: &str) -> Cause {
    match show(auth, token).await {
        Outcome::Failed { cause, .. } => cause,
        other => panic!("{other:?}"),
    }
}

/// A key pair that signs as `alg`.
struct Pair {
    pem: String,
    sign: EncodingKey,
    alg: jsonwebtoken::Algorithm,
}

fn pair(alg: Algorithm) -> Pair {
    let generate = |alg| KeyPair::generate_for(alg).unwrap();
    let alg = alg.jwa();
    let (made, sign) = match alg.family() {
        jsonwebtoken::AlgorithmFamily::Rsa => {
            let made = generate(&rcgen::PKCS_RSA_SHA256);
            let sign = EncodingKey::from_rsa_pem(made.serialize_pem().as_bytes());
            (made, sign)
        }
        jsonwebtoken::AlgorithmFamily::Ed => {
            let made = generate(&rcgen::PKCS_ED25519);
            let sign = EncodingKey::from_ed_pem(made.serialize_pem().as_bytes());
            (made, sign)
        }
        _ => {
            let p256 = alg == jsonwebtoken::Algorithm::ES256;
            let made = generate(if p256 { &rcgen::PKCS_ECDSA_P256_SHA256 } else { &rcgen::PKCS_ECDSA_P384_SHA384 });
            let sign = EncodingKey::from_ec_pem(made.serialize_pem().as_bytes());
            (made, sign)
        }
    };
    Pair { pem: made.public_key_pem(), sign: sign.unwrap(), alg }
}

impl Pair {
    fn token(&self, kid: Option<&str>, claims: Value) -> String {
        let mut header = json!({ "alg": format!("{:?}", self.alg) });
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        signed(header, &claims, &self.sign, self.alg)
    }

    fn jwk(&self, kid: &str) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.sign, self.alg).unwrap()).unwrap();
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk
    }
}

/// An HTTP source inside the test: every request waits until the test answers it.
struct Source {
    url: String,
    asked: mpsc::UnboundedReceiver<Asked>,
}

struct Asked {
    path: String,
    headers: HeaderMap,
    reply: oneshot::Sender<(u16, String)>,
}

impl Asked {
    fn answer(self, status: u16, body: impl ToString) {
        let _ = self.reply.send((status, body.to_string()));
    }
}

impl Source {
    async fn start() -> Source {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tell = tell.clone();
                let service = service_fn(move |request| answer(request, tell.clone()));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Source { url, asked }
    }

    async fn next(&mut self) -> Asked {
        self.asked.recv().await.unwrap()
    }

    /// Whether nothing was asked that the test has not seen.
    fn is_idle(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }
}

async fn answer(
    request: Request<hyper::body::Incoming>,
    tell: mpsc::UnboundedSender<Asked>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (reply, answered) = oneshot::channel();
    let path = request.uri().path().to_string();
    let _ = tell.send(Asked { path, headers: request.headers().clone(), reply });
    let (status, body) = answered.await.unwrap_or((500, String::new()));
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

fn row(columns: Value) -> Map<String, Value> {
    parse(columns)
}
