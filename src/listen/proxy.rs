//! The PROXY header of a load balancer, versions 1 and 2 (haproxy.org, proxy-protocol.txt).

use super::settings::ProxyProtocol;
use bytes::{Bytes, BytesMut};
use ppp::{HeaderResult, PartialResult, v1, v2};
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A header's length, its TLVs included; the longest that is read.
const HEADER_BYTES_MAX: usize = 2048;

/// Reads the header where `mode` wants one. Out: the client's address, and what was read beyond the header.
/// Ask only where the peer is a trusted proxy.
pub async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    mode: ProxyProtocol,
    peer: SocketAddr,
) -> Result<(IpAddr, Bytes)> {
    let mut read = BytesMut::new();
    loop {
        let (length, client) = match parse(&read) {
            Parsed::Header { length, client } => (length, client),
            Parsed::Partial if read.len() < HEADER_BYTES_MAX => {
                if stream.read_buf(&mut read).await? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                continue;
            }
            Parsed::Other if mode == ProxyProtocol::Accept => (0, None),
            Parsed::Other | Parsed::Partial => return Err(Error::new(ErrorKind::InvalidData, "no PROXY header")),
        };
        let rest = read.split_off(length);
        return Ok((client.unwrap_or(peer.ip()).to_canonical(), rest.freeze()));
    }
}

enum Parsed {
    /// `client`: `None` for the proxy's own health checks, and where it does not know.
    Header {
        length: usize,
        client: Option<IpAddr>,
    },
    Partial,
    Other,
}

fn parse(read: &[u8]) -> Parsed {
    if read.is_empty() {
        return Parsed::Partial;
    }
    let header = HeaderResult::parse(read);
    if header.is_incomplete() {
        return Parsed::Partial;
    }
    match header {
        HeaderResult::V2(Ok(header)) => {
            let source = match header.addresses {
                v2::Addresses::IPv4(a) => Some(IpAddr::V4(a.source_address)),
                v2::Addresses::IPv6(a) => Some(IpAddr::V6(a.source_address)),
                v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
            };
            let client = source.filter(|_| header.command == v2::Command::Proxy);
            Parsed::Header { length: header.len(), client }
        }
        HeaderResult::V1(Ok(header)) => {
            let client = match header.addresses {
                v1::Addresses::Tcp4(a) => Some(IpAddr::V4(a.source_address)),
                v1::Addresses::Tcp6(a) => Some(IpAddr::V6(a.source_address)),
                v1::Addresses::Unknown => None,
            };
            Parsed::Header { length: header.header.len(), client }
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Parsed::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProxyProtocol::{Accept, Require};

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x1f\x90\x0b\xb8";
    const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

    /// The client and the rest, after the header arrived in the given pieces.
    async fn answer(mode: ProxyProtocol, pieces: &[&[u8]]) -> std::result::Result<(String, Vec<u8>), ErrorKind> {
        let (peer, mut build) = ("10.0.0.1:5000".parse().unwrap(), tokio_test_io(pieces));
        let (ip, rest) = read(&mut build, mode, peer).await.map_err(|e| e.kind())?;
        Ok((ip.to_string(), rest.to_vec()))
    }

    /// A stream that gives one piece a read.
    fn tokio_test_io(pieces: &[&[u8]]) -> impl AsyncRead + Unpin {
        let empty: Box<dyn AsyncRead + Unpin> = Box::new(tokio::io::empty());
        pieces.iter().rev().fold(empty, |rest, piece| {
            Box::new(std::io::Cursor::new(piece.to_vec()).chain(rest)) as Box<dyn AsyncRead + Unpin>
        })
    }

    #[tokio::test(flavor = "local")]
    async fn a_header_names_the_client_however_it_is_cut() {
        let client = "192.0.2.7".to_owned();
        let bytewise: Vec<&[u8]> = V2.chunks(1).collect();
        assert_eq!(answer(Require, &bytewise).await, Ok((client.clone(), vec![])));
        let with_rest = [V2, b"GET /"].concat();
        assert_eq!(answer(Accept, &[&with_rest]).await, Ok((client.clone(), b"GET /".to_vec())));
        let v1 = b"PROXY TCP4 192.0.2.7 127.0.0.1 8080 3000\r\nGET /";
        assert_eq!(answer(Require, &[&v1[..9], &v1[9..]]).await, Ok((client, b"GET /".to_vec())));
        assert_eq!(answer(Require, &[V2_LOCAL]).await, Ok(("10.0.0.1".into(), vec![])));
        assert_eq!(answer(Require, &[b"PROXY UNKNOWN\r\n"]).await, Ok(("10.0.0.1".into(), vec![])));
    }

    #[tokio::test(flavor = "local")]
    async fn what_is_no_header_is_kept_or_refused() {
        let get = b"GET / HTTP/1.1\r\n\r\n";
        assert_eq!(answer(Accept, &[get]).await, Ok(("10.0.0.1".into(), get.to_vec())));
        assert_eq!(answer(Accept, &[b"P", b"OST / HTTP/1.1\r\n"]).await.unwrap().1, b"POST / HTTP/1.1\r\n");
        assert_eq!(answer(Require, &[get]).await, Err(ErrorKind::InvalidData));
        assert_eq!(answer(Require, &[&V2[..20]]).await, Err(ErrorKind::UnexpectedEof));
        let huge = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"[..], &[0; 4096]].concat();
        assert_eq!(answer(Require, &[&huge]).await, Err(ErrorKind::InvalidData));
    }
}
