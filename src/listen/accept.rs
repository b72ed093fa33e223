//! Binds listeners and accepts their connections.

use super::settings::ListenerSettings;
use crate::shard::Accepted;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// How long the loop rests where the process has no descriptor left: connections wait in the kernel's backlog.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Binds the first address that `settings.address` resolves to; port 0 takes a free one (`local_addr` tells it).
pub fn bind(settings: &ListenerSettings) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no such address");
    for address in settings.address.to_socket_addrs()? {
        match bind_to(address, settings.backlog) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_to(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart does not wait for connections of the process before.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Gives a socket that listens already another backlog.
pub fn listen_again(socket: &TcpListener, backlog: u32) -> io::Result<()> {
    socket2::SockRef::from(socket).listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

/// Descriptors that only operators' listeners and files may use: a quarter of all, at most so many.
const KEPT_BACK: u64 = 192;

/// Accepts for ever, on a background runtime; ends when the task is dropped. `number` is the listener's; `deliver`
/// hands the connection to a shard; `failed` is told of each time that no descriptor was left. `admin`: for operators.
pub async fn accept(
    listener: TcpListener,
    number: u16,
    admin: bool,
    mut deliver: impl FnMut(Accepted),
    mut failed: impl FnMut(&io::Error),
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            // The kernel gives the lowest number that is free: a high one tells that nearly all are taken. What is left is
            // for operators, who want to look, and for files, which a reload reads and the store writes.
            Ok((stream, _)) if !admin && is_kept_back(stream.as_raw_fd(), open_files_max()) => {
                drop(stream);
                failed(&io::Error::from_raw_os_error(libc::EMFILE));
                tokio::task::yield_now().await;
            }
            Ok((stream, peer)) => {
                // Replies are whole writes; waiting for more to say would only delay them.
                let _ = stream.set_nodelay(true);
                deliver(Accepted { stream, peer, listener: number });
            }
            Err(error) if is_exhausted(&error) => {
                crate::observe::limited!(warn, listener = number, %error, "no connection can be accepted");
                failed(&error);
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
            // The client went away between its SYN and now (`accept(2)`, "Error handling").
            Err(error) => tracing::debug!(listener = number, %error, "accept"),
        }
    }
}

fn is_kept_back(fd: RawFd, open_files_max: u64) -> bool {
    fd as u64 >= open_files_max - (open_files_max / 4).min(KEPT_BACK)
}

/// Descriptors that the process may have.
fn open_files_max() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes only the struct that it is given.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => limit.rlim_cur,
        _ => u64::MAX,
    }
}

/// No descriptor or memory left: of the process, of the system, for sockets.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::settings::ProxyProtocol;

    fn settings(address: &str) -> ListenerSettings {
        let (address, proxy_protocol) = (address.to_owned(), ProxyProtocol::Off);
        ListenerSettings { address, admin: false, app: None, tls: None, proxy_protocol, backlog: 16 }
    }

    #[test]
    fn connections_arrive_with_their_peer_and_listener() {
        let listener = bind(&settings("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        let runtime = tokio::runtime::LocalRuntime::new().unwrap();
        runtime.block_on(async {
            let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
            tokio::task::spawn_local(accept(listener, 7, false, move |a| sender.send(a).unwrap(), |_| {}));
            let client = std::net::TcpStream::connect(address).unwrap();
            let accepted = arrived.recv().await.unwrap();
            assert_eq!((accepted.peer, accepted.listener), (client.local_addr().unwrap(), 7));
            assert!(accepted.stream.nodelay().unwrap());
        });
    }

    /// As the kernel tells it of a socket that listens: `tcpi_sacked`.
    fn backlog(listener: &TcpListener) -> u32 {
        // SAFETY: plain numbers, of which the call fills in as many as it says.
        unsafe {
            let mut info: libc::tcp_info = std::mem::zeroed();
            let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
            let to = (&raw mut info).cast();
            assert_eq!(libc::getsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, to, &mut size), 0);
            info.tcpi_sacked
        }
    }

    #[test]
    fn a_socket_that_listens_takes_another_backlog() {
        let listener = bind(&settings("127.0.0.1:0")).unwrap();
        assert_eq!(backlog(&listener), 16);
        listen_again(&listener, 7).unwrap();
        assert_eq!(backlog(&listener), 7);
    }

    #[test]
    fn an_address_in_use_is_an_error() {
        let first = bind(&settings("127.0.0.1:0")).unwrap();
        let address = first.local_addr().unwrap().to_string();
        assert_eq!(bind(&settings(&address)).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn the_last_descriptors_are_kept_back() {
        assert!(is_kept_back(150, 200) && !is_kept_back(149, 200));
        assert!(is_kept_back(100_000 - 192, 100_000) && !is_kept_back(99_000, 100_000));
        assert!(!is_kept_back(i32::MAX, u64::MAX));
    }

    #[test]
    fn only_exhaustion_makes_the_loop_rest() {
        assert!(is_exhausted(&io::Error::from_raw_os_error(libc::EMFILE)));
        assert!(!is_exhausted(&io::Error::from_raw_os_error(libc::ECONNABORTED)));
    }
}
