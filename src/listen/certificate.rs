//! When certificates begin and end: RFC 5280 §4.1.2.5, read straight from the DER. Nothing else of them is judged here.

use crate::model::{Millis, Problem, iso8601};

/// How long before its end a certificate is told of: renewals run some weeks before, so what is left then is overdue.
pub const EXPIRES_SOON_MS: u64 = 14 * 24 * 60 * 60 * 1000;

/// One certificate of a listener's files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// As the settings name it.
    pub file: String,
    /// The key of `[listener.NAME]` that names it.
    pub key: &'static str,
    /// Where it begins in the file.
    pub line: u32,
    pub not_before: Millis,
    pub not_after: Millis,
}

impl Certificate {
    /// `None`: these bytes are no certificate that can be read so far.
    pub(super) fn read(der: &[u8], file: &str, key: &'static str, line: u32) -> Option<Certificate> {
        let (not_before, not_after) = validity(der)?;
        Some(Certificate { file: file.to_owned(), key, line, not_before, not_after })
    }

    /// What is wrong with its time at `now`. The problem's path is relative to the listener.
    pub fn problem(&self, now: Millis) -> Option<Problem> {
        let what = match now {
            _ if now >= self.not_after => {
                format!("this certificate has expired: it was good until {}", iso8601(self.not_after))
            }
            _ if now < self.not_before => {
                format!("this certificate is not valid yet: it is good from {}", iso8601(self.not_before))
            }
            _ if now + EXPIRES_SOON_MS >= self.not_after => {
                let days = (self.not_after - now) / (24 * 60 * 60 * 1000);
                format!("this certificate expires in {days} days: it is good until {}", iso8601(self.not_after))
            }
            _ => return None,
        };
        Some(Problem::new(self.key, what).in_file(&self.file).at(self.line, 1))
    }
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `notBefore` and `notAfter`.
fn validity(der: &[u8]) -> Option<(Millis, Millis)> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut tbs, _) = element(certificate, SEQUENCE)?;
    if tbs.first() == Some(&VERSION) {
        tbs = any(tbs)?.2;
    }
    // serialNumber, signature, issuer.
    for _ in 0..3 {
        tbs = any(tbs)?.2;
    }
    let (validity, _) = element(tbs, SEQUENCE)?;
    let (from_kind, from, rest) = any(validity)?;
    let (to_kind, to, _) = any(rest)?;
    Some((time(from_kind, from)?, time(to_kind, to)?))
}

fn element(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (kind, content, rest) = any(der)?;
    (kind == wanted).then_some((content, rest))
}

/// The kind and content of the first element, and what follows it.
fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, first, mut rest) = (*der.first()?, *der.get(1)?, der.get(2..)?);
    let length = match first {
        short if short < 0x80 => usize::from(short),
        long => {
            let bytes = rest.split_off(..usize::from(long & 0x7f)).filter(|bytes| bytes.len() <= 4)?;
            bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        }
    };
    let content = rest.split_off(..length)?;
    Some((kind, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; years below 50 are of this century.
fn time(kind: u8, text: &[u8]) -> Option<Millis> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match kind {
        UTC_TIME => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", &text).ok()?;
    let at = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
    Some(at.max(0) as Millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_tells_when_it_ends() {
        let mut wanted = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        (wanted.not_before, wanted.not_after) = (rcgen::date_time_ymd(2026, 1, 2), rcgen::date_time_ymd(2051, 3, 4));
        let made = wanted.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let read = Certificate::read(made.der(), "cert.pem", "tls.cert", 3).unwrap();
        assert_eq!(iso8601(read.not_before), "2026-01-02T00:00:00.000Z");
        assert_eq!(iso8601(read.not_after), "2051-03-04T00:00:00.000Z");
        let told = |now: Millis| {
            read.problem(now)
                .map(|p| (p.what.split(':').next().unwrap().to_owned(), p.file.map(|file| file.0), p.offset))
        };
        let place = (Some("cert.pem".to_owned()), Some((3, 1)));
        assert_eq!(told(read.not_before), None);
        assert_eq!(
            told(read.not_before - 1),
            Some(("this certificate is not valid yet".into(), place.0.clone(), place.1))
        );
        assert_eq!(
            told(read.not_after - EXPIRES_SOON_MS),
            Some(("this certificate expires in 14 days".into(), place.0.clone(), place.1))
        );
        assert_eq!(told(read.not_after), Some(("this certificate has expired".into(), place.0, place.1)));
    }

    #[test]
    fn what_is_no_certificate_has_no_time() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let der = made.cert.der();
        for cut in 0..64 {
            assert_eq!(validity(&der[..cut]), None);
        }
        assert_eq!(validity(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
        assert_eq!(validity(&[0x30, 0x80]), None);
    }
}
