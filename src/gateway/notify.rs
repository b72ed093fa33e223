//! Tells systemd how the process is (sd_notify(3)): ready, reloading, stopping, alive. Nothing where nobody asked.
//!
//! In: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID` of the environment. Out: datagrams; one that cannot be sent is
//! only logged, for the gateway works without systemd too.

use crate::config::Environment;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// The service manager, if there is one.
#[derive(Clone, Default)]
pub struct Systemd(Option<Arc<Manager>>);

struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How often it wants to hear that the process is alive.
    watchdog: Option<Duration>,
}

impl Systemd {
    /// From the process's environment.
    pub fn of(env: &Environment) -> Systemd {
        let Some(name) = env.get("NOTIFY_SOCKET").filter(|n| !n.is_empty()) else { return Systemd(None) };
        let socket = address(name).and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        match socket {
            Ok((socket, address)) => Systemd(Some(Arc::new(Manager { socket, address, watchdog: watchdog(env) }))),
            Err(error) => {
                tracing::warn!(socket = name, %error, "NOTIFY_SOCKET cannot be used");
                Systemd(None)
            }
        }
    }

    /// Everything answers. Also ends what `reloading` began.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}\nMAINPID={}", line(status), std::process::id()));
    }

    /// The files are read anew; `Type=notify-reload` wants to know since when, by its own clock. `ready` ends it,
    /// whether the files took or not: the status says which.
    pub fn reloading(&self) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reading the files", monotonic_us()));
    }

    /// Closing connections; nobody new.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=closing connections");
    }

    /// What `systemctl status` shows.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", line(status)));
    }

    /// Says again and again that the process is alive, where that is asked for: twice as often as asked. A main thread
    /// that hangs says nothing, and is restarted.
    pub async fn alive(&self) -> Result<(), String> {
        let Some(every) = self.0.as_ref().and_then(|m| m.watchdog) else { return Ok(()) };
        let mut ticks = tokio::time::interval(every / 2);
        loop {
            ticks.tick().await;
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, text: &str) {
        let Some(manager) = &self.0 else { return };
        if let Err(error) = manager.socket.send_to_addr(text.as_bytes(), &manager.address) {
            tracing::warn!(%error, "systemd was not told");
        }
    }
}

/// A path, or `@name` of Linux's abstract namespace.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        None if name.starts_with('/') => SocketAddr::from_pathname(name),
        None => Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract socket")),
        #[cfg(target_os = "linux")]
        Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        #[cfg(not(target_os = "linux"))]
        Some(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "abstract sockets are Linux's")),
    }
}

/// `WATCHDOG_USEC`, unless it is meant for another process.
fn watchdog(env: &Environment) -> Option<Duration> {
    let number = |name: &str| env.get(name)?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|us| ours && *us > 1).map(Duration::from_micros)
}

/// A status is one line.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// CLOCK_MONOTONIC in microseconds, which is what systemd compares with.
fn monotonic_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes only the struct that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn next(manager: &UnixDatagram) -> String {
        manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut bytes = [0; 512];
        let len = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }

    #[test]
    fn a_manager_hears_how_the_process_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let systemd = Systemd::of(&env(&[("NOTIFY_SOCKET", path.to_str().unwrap())]));
        systemd.ready("2 apps,\ngeneration 1");
        assert!(next(&manager).starts_with("READY=1\nSTATUS=2 apps, generation 1\nMAINPID="));
        systemd.reloading();
        let told = next(&manager);
        let since = told.lines().find_map(|l| l.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!(told.starts_with("RELOADING=1\n") && since.parse::<u64>().unwrap() <= monotonic_us(), "{told}");
        systemd.stopping();
        assert!(next(&manager).starts_with("STOPPING=1\n"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_is_one_too() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("weir-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Systemd::of(&env(&[("NOTIFY_SOCKET", &format!("@{name}"))])).status("well");
        assert_eq!(next(&manager), "STATUS=well");
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_fed() {
        assert_eq!(watchdog(&env(&[("WATCHDOG_USEC", "2000000")])), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(&env(&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", "1")])), None);
        assert_eq!(watchdog(&env(&[])), None);
    }
}
