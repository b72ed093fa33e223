//! The command's own HTTP and WebSocket client, and how it finds the gateway.

use super::files;
use crate::auth::{HttpClient, Roots, Trust, http_client, root_cause};
use crate::config::{Environment, Mode, SSL_CERT_FILE, published};
use fastwebsockets::{FragmentCollector, Role, WebSocket, handshake::generate_key};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Where a gateway answers its operators if the files do not say.
const ADMIN: &str = "http://127.0.0.1:9000";
/// The variable of `[api_key.default]` as shipped.
const KEY: &str = "WEIR_API_KEY";

/// How to reach a running gateway's HTTP API.
#[derive(clap::Args, Debug)]
pub struct Door {
    /// The gateway's address; its admin listener in the files if missing.
    #[arg(long, value_name = "URL", env = "WEIR_URL")]
    pub url: Option<String>,
    /// An API key; others on this machine can read a command's arguments, so better in the environment.
    /// In development mode its published value if missing.
    #[arg(long, value_name = "KEY", env = KEY, hide_env_values = true)]
    pub key: Option<String>,
    /// A PEM file with an authority of one's own that https believes, beside `[tls] ca` of the files and `SSL_CERT_FILE`.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How long an answer may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

impl Door {
    /// Address and key, from the arguments or from the files. Files with faults are as good as none.
    pub fn found(&self, gateway: &Path, env: &Environment) -> Found {
        let files = files::read(gateway, env).ok();
        let made = files.as_ref().map(|f| &f.compiled);
        let admin = made.and_then(|c| c.listeners.values().find(|l| l.admin));
        let of_files = admin.and_then(|l| {
            let mut at: SocketAddr = l.address.parse().ok()?;
            if at.ip().is_unspecified() {
                at.set_ip(if at.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
            }
            Some(format!("http{}://{at}", if l.tls.is_some() { "s" } else { "" }))
        });
        let development = made.is_none_or(|c| c.mode == Mode::Development);
        Found {
            url: self.url.clone().or(of_files).unwrap_or_else(|| ADMIN.into()).trim_end_matches('/').to_owned(),
            key: self.key.clone().filter(|k| !k.is_empty()).or_else(|| development.then(|| published(KEY))),
            patience: Duration::from_secs(self.timeout),
            trust: self.trust(made.map(|c| c.roots.clone()), env),
        }
    }

    /// Err, told where something is asked: the file of `--ca` is of no use.
    fn trust(&self, of_files: Option<Roots>, env: &Environment) -> Result<Trust, String> {
        let read = |path: &Path| std::fs::read(path).map_err(|e| e.to_string());
        // Files with faults are as good as none; the environment is read all the same.
        let roots = of_files.unwrap_or_else(|| {
            let more = env.get(SSL_CERT_FILE).and_then(|path| Roots::default().with(&read(Path::new(path)).ok()?).ok());
            more.unwrap_or_default()
        });
        match &self.ca {
            None => Ok(Trust::new(&roots)),
            Some(path) => {
                let more = read(path).and_then(|pem| roots.with(&pem));
                more.map(|roots| Trust::new(&roots)).map_err(|why| format!("{} {why}", path.display()))
            }
        }
    }
}

/// Where the gateway is, and with what key.
pub struct Found {
    /// Without a slash at its end.
    pub url: String,
    pub key: Option<String>,
    pub patience: Duration,
    trust: Result<Trust, String>,
}

impl Found {
    /// A call of the HTTP API; the whole answer, whatever its status.
    pub async fn call(&self, verb: &str, body: &impl Serialize) -> Result<(StatusCode, String), String> {
        self.post(&format!("/api/{verb}"), body).await
    }

    /// What the admin listener answers to a question about files, and its JSON. Err: also where it refuses.
    pub fn admin<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<(T, String), String> {
        let runtime = files::runtime().map_err(|e| e.to_string())?;
        match runtime.block_on(self.post(path, body))? {
            (status, text) if status.is_success() => match serde_json::from_str(&text) {
                Ok(answer) => Ok((answer, text)),
                Err(e) => Err(format!("{text}: {e}")),
            },
            (status, text) => Err(format!("{}{path} answered {status}\n{text}", self.url)),
        }
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Result<(StatusCode, String), String> {
        let url = format!("{}{path}", self.url);
        let key = self.key.as_deref().ok_or("an API key is needed: --key, or WEIR_API_KEY in the environment")?;
        let mut request = request(Method::POST, &url, serde_json::to_string(body).map_err(|e| e.to_string())?)?;
        let bearer = HeaderValue::from_str(&format!("Bearer {key}"))
            .map_err(|_| "the key has characters that no header may have")?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.ask(request).await
    }

    /// A GET without a key.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, String), String> {
        self.ask(request(Method::GET, &format!("{}{path}", self.url), String::new())?).await
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, String), String> {
        let (at, http) = (request.uri().clone(), self.http()?);
        let answer = async {
            let response = http.request(request).await.map_err(|e| root_cause(&e))?;
            Ok((response.status(), text(response.into_body()).await?))
        };
        let answer = tokio::time::timeout(self.patience, answer).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer in {} s", self.patience.as_secs())));
        answer.map_err(|what| {
            format!("{}://{}: {what}", at.scheme_str().unwrap_or(""), at.authority().map_or("", |a| a.as_str()))
        })
    }

    fn http(&self) -> Result<HttpClient<Full<Bytes>>, String> {
        self.trust.as_ref().map(http_client).map_err(Clone::clone)
    }

    /// Calls a verb, prints its answer; the exit code.
    pub fn call_and_tell(&self, verb: &str, body: &impl Serialize) -> std::process::ExitCode {
        let called = files::runtime().map_err(|e| e.to_string());
        match called.and_then(|runtime| runtime.block_on(self.call(verb, body))) {
            Err(what) => files::fail(what),
            Ok((status, text)) if status.is_success() => {
                say!("{text}");
                std::process::ExitCode::SUCCESS
            }
            Ok((status, text)) => files::fail(format!("{} answered {status}\n{text}", self.url)),
        }
    }
}

/// An open WebSocket, client's side.
pub type Socket = FragmentCollector<TokioIo<Upgraded>>;

/// Opens a WebSocket; `url` with `ws`, `wss`, `http` or `https`. Err: what was answered instead.
pub async fn socket(found: &Found, url: &str, headers: &[(HeaderName, HeaderValue)]) -> Result<Socket, String> {
    let url = url.replacen("ws", "http", usize::from(url.starts_with("ws")));
    let mut request = request(Method::GET, &url, String::new())?;
    let own = [
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (HeaderName::from_static("sec-websocket-version"), HeaderValue::from_static("13")),
    ];
    request.headers_mut().extend(own.into_iter().chain(headers.iter().cloned()));
    let key = HeaderValue::from_str(&generate_key()).map_err(|e| e.to_string())?;
    request.headers_mut().insert("sec-websocket-key", key);
    let response = found.http()?.request(request).await.map_err(|e| root_cause(&e))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = response.status();
        let text = text(response.into_body()).await.unwrap_or_default();
        return Err(format!("the upgrade was answered with {status}: {text}"));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|e| root_cause(&e))?;
    let mut socket = WebSocket::after_handshake(TokioIo::new(upgraded), Role::Client);
    socket.set_auto_close(true);
    socket.set_auto_pong(true);
    Ok(FragmentCollector::new(socket))
}

fn request(method: Method, url: &str, body: String) -> Result<Request<Full<Bytes>>, String> {
    let uri: Uri = url.parse().map_err(|e| format!("`{url}` is no address: {e}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(format!("`{url}` is no address such as http://127.0.0.1:9000"));
    }
    let mut request = Request::new(Full::new(Bytes::from(body)));
    (*request.method_mut(), *request.uri_mut()) = (method, uri);
    Ok(request)
}

async fn text(body: hyper::body::Incoming) -> Result<String, String> {
    let bytes = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|e| e.to_string())?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
