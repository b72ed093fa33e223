//! One event is one line, whatever texts of clients it holds: nobody writes a line of the log but Weir.

use std::borrow::Cow;
use std::io::{self, Write};
use tracing_subscriber::fmt::MakeWriter;

/// Ends a line somewhere, moves the cursor, or turns the direction of what follows: a reader would see another line, or the
/// same line otherwise. ESC is the log's own where it colours a terminal; of texts it is escaped before it comes here.
fn is_unsafe(c: char, colours: bool) -> bool {
    match c {
        '\t' => false,
        '\u{1b}' => !colours,
        '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{feff}' => true,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

/// The text with such characters as `\n` or `\u2028`, which JSON reads as well.
pub(super) fn one_line(text: &str, colours: bool) -> Cow<'_, str> {
    // Most lines are as they should be, and most bytes plain.
    let plain = |b: u8| (0x20..0x7f).contains(&b) || b == b'\t';
    if text.bytes().all(plain) || !text.chars().any(|c| is_unsafe(c, colours)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if is_unsafe(c, colours) => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A writer of log lines, each given whole, with its line feed.
#[derive(Clone)]
pub(super) struct OneLine<W> {
    pub to: W,
    pub colours: bool,
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        match text.strip_suffix('\n') {
            Some(text) => match one_line(text, self.colours) {
                Cow::Borrowed(_) => self.to.write_all(line)?,
                Cow::Owned(text) => self.to.write_all(format!("{text}\n").as_bytes())?,
            },
            None => self.to.write_all(one_line(&text, self.colours).as_bytes())?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = OneLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine { to: self.to.make_writer(), colours: self.colours }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::layer;
    use tracing_subscriber::layer::{Layer, SubscriberExt};

    #[test]
    fn a_text_stays_on_its_line() {
        assert_eq!(one_line("päin, 日本語 and \ttabs", false), "päin, 日本語 and \ttabs");
        let forged = "a\r\nb\u{0}\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}\u{200f}\u{1b}[2J";
        let told = r"a\r\nb\u0000\u007f\u0085\u009b\u2028\u2029\u202e\u2066\u200f\u001b[2J";
        assert_eq!(one_line(forged, false), told);
        assert_eq!(one_line("\u{1b}[32m INFO", true), "\u{1b}[32m INFO");
    }

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_in_text_and_in_json() {
        for json in [false, true] {
            let kept = Kept::default();
            let to = kept.clone();
            let lines = layer().with_ansi(false).with_writer(OneLine { to: move || to.clone(), colours: false });
            let lines = if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
            let forged = "hi\n2026-11-27T22:00:00.000000Z  INFO audit\u{2028}x\u{85}";
            tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
                tracing::info!(field = forged, shown = %forged, "{forged}");
            });
            let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.ends_with('\n') && !text.contains(['\u{2028}', '\u{85}']), "{text}");
            if json {
                let event: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(event["message"], forged, "a reader of JSON gets the text as it was");
            }
        }
    }
}
