//! The two clients of the transcripts: tungstenite for WebSockets, hyper for HTTP.

use super::gateway::PATIENCE;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::net::{Shutdown, TcpStream};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

/// What a client got next.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// Code and reason; 1005 where the frame had none.
    Close(u16, String),
    /// The upgrade was answered with something else than 101.
    Http(Reply),
    /// The connection ended without a close frame.
    Lost(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// One side of a conversation.
pub struct Client {
    socket: Option<WebSocket<TcpStream>>,
    /// The answer to the upgrade request.
    pub upgrade: Reply,
    fences: u64,
}

impl Client {
    pub fn connect(address: &str, path: &str, headers: &[(String, String)]) -> Result<Client, String> {
        let stream = TcpStream::connect(address).map_err(|e| format!("{address}: {e}"))?;
        stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_nodelay(true)).map_err(|e| e.to_string())?;
        let mut request = format!("ws://{address}{path}").into_client_request().map_err(|e| e.to_string())?;
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|e| format!("{name}: {e}"))?;
            request.headers_mut().append(name, HeaderValue::from_str(value).map_err(|e| e.to_string())?);
        }
        match tungstenite::client(request, stream) {
            Ok((socket, response)) => Ok(Client { socket: Some(socket), upgrade: reply(&response), fences: 0 }),
            Err(HandshakeError::Failure(Error::Http(response))) => {
                Ok(Client { socket: None, upgrade: reply(&response), fences: 0 })
            }
            Err(HandshakeError::Failure(e)) => Err(e.to_string()),
            Err(HandshakeError::Interrupted(_)) => Err(format!("no answer to the upgrade in {PATIENCE:?}")),
        }
    }

    pub fn send(&mut self, message: Message) -> Result<(), String> {
        self.socket.as_mut().ok_or("not connected")?.send(message).map_err(|e| e.to_string())
    }

    pub fn close(&mut self, code: u16, reason: &str) -> Result<(), String> {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.to_string().into() };
        let socket = self.socket.as_mut().ok_or("not connected")?;
        socket.close(Some(frame)).and_then(|()| socket.flush()).map_err(|e| e.to_string())
    }

    /// Cuts the connection without a close frame.
    pub fn drop_connection(&mut self) {
        if let Some(socket) = self.socket.take() {
            let _ = socket.get_ref().shutdown(Shutdown::Both);
        }
    }

    /// The next thing that came; pings are answered and passed over.
    pub fn next(&mut self) -> Result<Got, String> {
        let Some(socket) = self.socket.as_mut() else { return Ok(Got::Http(self.upgrade.clone())) };
        loop {
            return Ok(match socket.read() {
                Ok(Message::Text(text)) => Got::Text(text.to_string()),
                Ok(Message::Binary(bytes)) => Got::Binary(bytes.to_vec()),
                Ok(Message::Pong(bytes)) => Got::Pong(bytes.to_vec()),
                Ok(Message::Ping(_) | Message::Frame(_)) => continue,
                Ok(Message::Close(frame)) => {
                    // Our side's answer; the peer may be gone already.
                    let _ = socket.flush();
                    frame.map_or(Got::Close(1005, String::new()), |f| Got::Close(f.code.into(), f.reason.to_string()))
                }
                Err(Error::Io(e))
                    if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
                {
                    return Err(format!("nothing came in {PATIENCE:?}"));
                }
                Err(e) => Got::Lost(e.to_string()),
            });
        }
    }

    /// Whether nothing is on its way: a ping's pong is the next thing to come. Returns what came before it.
    pub fn fence(&mut self) -> Result<Option<Got>, String> {
        self.fences += 1;
        let name = format!("fence {}", self.fences).into_bytes();
        self.send(Message::Ping(name.clone().into()))?;
        match self.next()? {
            Got::Pong(payload) if payload == name => Ok(None),
            other => Ok(Some(other)),
        }
    }

    /// Says goodbye and waits until the gateway has, too.
    pub fn leave(mut self) {
        if self.close(1000, "").is_ok() {
            while matches!(self.next(), Ok(Got::Text(_) | Got::Binary(_) | Got::Pong(_))) {}
        }
    }
}

fn reply(response: &tungstenite::http::Response<Option<Vec<u8>>>) -> Reply {
    let body = response.body().as_deref().unwrap_or_default();
    Reply {
        status: response.status().as_u16(),
        headers: headers(response.headers()),
        body: String::from_utf8_lossy(body).into_owned(),
    }
}

fn headers(map: &hyper::HeaderMap) -> Vec<(String, String)> {
    let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    map.iter().map(|(n, v)| (n.to_string(), text(v))).collect()
}

/// One request on a connection of its own.
pub fn http(
    address: &str,
    method: &str,
    path: &str,
    headers_out: &[(String, String)],
    body: Option<&str>,
) -> Result<Reply, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let exchange = exchange(address, method, path, headers_out, body);
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| format!("no answer in {PATIENCE:?}"))?
    })
}

async fn exchange(
    address: &str,
    method: &str,
    path: &str,
    headers_out: &[(String, String)],
    body: Option<&str>,
) -> Result<Reply, String> {
    let stream = tokio::net::TcpStream::connect(address).await.map_err(|e| format!("{address}: {e}"))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| e.to_string())?;
    tokio::spawn(connection.with_upgrades());
    let mut request = hyper::Request::builder().method(method).uri(path).header("host", address);
    for (name, value) in headers_out {
        request = request.header(name, value);
    }
    if body.is_some() && !headers_out.iter().any(|(n, _)| n.eq_ignore_ascii_case("content-type")) {
        request = request.header("content-type", "application/json");
    }
    let body = Full::new(Bytes::from(body.unwrap_or_default().to_string()));
    let request = request.body(body).map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let (status, headers) = (response.status().as_u16(), headers(response.headers()));
    let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
    Ok(Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}
