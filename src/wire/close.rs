//! Which close codes may cross the wire, and what a close frame says. RFC 6455 §5.5.1 and §7.4.

use super::WireError;

/// Codes of the RFC and of the IANA registry (1012–1014), then those for libraries and applications.
/// 1004 is reserved; 1005, 1006 and 1015 stand for closes that were never sent.
pub(super) fn allowed(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Code and reason of a close frame's unmasked payload; `None`: the client gave no code.
pub(super) fn read(payload: &[u8]) -> Result<Option<(u16, &str)>, WireError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(WireError::BadClose) };
    };
    let code = u16::from_be_bytes(*code);
    if !allowed(code) {
        return Err(WireError::BadClose);
    }
    let reason = simdutf8::basic::from_utf8(reason).map_err(|_| WireError::InvalidText)?;
    Ok(Some((code, reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_needs_a_code_that_may_be_sent() {
        // Autobahn 7.7.* and 7.9.*, 7.13.*
        let good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
        let bad = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
        for code in good {
            assert_eq!(read(&u16::to_be_bytes(code)), Ok(Some((code, ""))));
        }
        for code in bad {
            assert_eq!(read(&u16::to_be_bytes(code)), Err(WireError::BadClose), "{code}");
        }
    }

    #[test]
    fn a_close_may_be_empty_and_may_give_a_reason() {
        assert_eq!(read(b""), Ok(None));
        assert_eq!(read(&[3]), Err(WireError::BadClose));
        assert_eq!(read(b"\x03\xe8caf\xc3\xa9"), Ok(Some((1000, "café"))));
        assert_eq!(read(b"\x03\xe8caf\xc3"), Err(WireError::InvalidText));
    }
}
