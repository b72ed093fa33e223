//! Channel names: `:`-separated segments, checked once.

use std::fmt;
use std::sync::Arc;

/// A channel's name, well-formed: 1 to 16 segments, none empty, 255 bytes at most, no control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// Why a text is no channel name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadName {
    Empty,
    TooLong,
    TooManySegments,
    EmptySegment,
    ControlCharacter,
}

impl ChannelName {
    pub const BYTES_MAX: usize = 255;
    pub const SEGMENTS_MAX: usize = 16;

    pub fn parse(text: &str) -> Result<ChannelName, BadName> {
        ChannelName::check(text)?;
        Ok(ChannelName(text.into()))
    }

    /// As `parse`, without keeping it.
    pub fn check(text: &str) -> Result<(), BadName> {
        if text.is_empty() {
            return Err(BadName::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(BadName::TooLong);
        }
        let (mut segments, mut previous) = (1, ':');
        for c in text.chars() {
            if c == ':' {
                if previous == ':' {
                    return Err(BadName::EmptySegment);
                }
                segments += 1;
            } else if c.is_control() {
                return Err(BadName::ControlCharacter);
            }
            previous = c;
        }
        if previous == ':' {
            return Err(BadName::EmptySegment);
        }
        if segments > Self::SEGMENTS_MAX {
            return Err(BadName::TooManySegments);
        }
        Ok(())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split(':')
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            BadName::Empty => "a channel name must not be empty",
            BadName::TooLong => "a channel name has at most 255 bytes",
            BadName::TooManySegments => "a channel name has at most 16 segments",
            BadName::EmptySegment => "a channel name has no empty segment",
            BadName::ControlCharacter => "a channel name has no control characters",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_checked_once() {
        assert_eq!(ChannelName::parse("clinic:c1:queue").unwrap().segments().count(), 3);
        for (bad, why) in [
            ("", BadName::Empty),
            (":a", BadName::EmptySegment),
            ("a::b", BadName::EmptySegment),
            ("a:", BadName::EmptySegment),
            ("a\u{0}b", BadName::ControlCharacter),
            ("a\nb", BadName::ControlCharacter),
        ] {
            assert_eq!(ChannelName::parse(bad), Err(why), "{bad:?}");
        }
        assert_eq!(ChannelName::parse(&"a".repeat(256)), Err(BadName::TooLong));
        assert_eq!(ChannelName::parse("a:".repeat(16).trim_end_matches(':')).unwrap().segments().count(), 16);
        assert_eq!(ChannelName::parse("a:b:c:d:e:f:g:h:i:j:k:l:m:n:o:p:q"), Err(BadName::TooManySegments));
    }
}
