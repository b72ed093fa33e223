//! What became of tests as JUnit XML, as CI servers read it: a `testsuite` a file, a `testcase` a test.

use crate::harness::{Outcome, Played};
use std::fmt::Write;
use std::time::Duration;

/// The document.
pub fn of(played: &[Played]) -> String {
    let outcomes = || played.iter().flat_map(|file| file.outcomes.iter().flatten());
    let unread = played.iter().filter(|file| file.outcomes.is_err()).count();
    let took = outcomes().map(|outcome| outcome.took).sum();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let sum = counts(outcomes(), unread, took);
    let _ = writeln!(out, "<testsuites name=\"weir test\" {sum}>");
    for Played { file, app, outcomes } in played {
        let all = || outcomes.iter().flatten();
        let took = all().map(|outcome| outcome.took).sum();
        let sum = counts(all(), outcomes.is_err().into(), took);
        let _ = writeln!(out, "  <testsuite name=\"{}\" {sum}>", escaped(file));
        let class = escaped(app.as_deref().unwrap_or(file));
        if let Err(faults) = outcomes {
            let _ = writeln!(out, "    <testcase name=\"{0}\" classname=\"{class}\" time=\"0.000\">", escaped(file));
            let told = faults.iter().map(|fault| fault.to_string()).collect::<Vec<_>>().join("\n");
            let message = escaped(faults.first().map_or("", |fault| &fault.what));
            let text = escaped(&told);
            let _ = writeln!(out, "      <error message=\"{message}\" type=\"unread\">{text}</error>");
            out.push_str("    </testcase>\n");
        }
        for outcome in all() {
            case(outcome, file, &class, &mut out);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn case(outcome: &Outcome, file: &str, class: &str, out: &mut String) {
    let Outcome { title, failure, took, .. } = outcome;
    let head = format!("    <testcase name=\"{}\" classname=\"{class}\" time=\"{}\"", escaped(title), seconds(*took));
    let Some(failure) = failure else {
        let _ = writeln!(out, "{head}/>");
        return;
    };
    let first = failure.what.lines().next().unwrap_or_default();
    let text = format!("{file}:{}: {title}\n> {}\n{}", failure.line, failure.step, failure.what);
    let _ = writeln!(out, "{head}>");
    let _ =
        writeln!(out, "      <failure message=\"{}\" type=\"failure\">{}</failure>", escaped(first), escaped(&text));
    out.push_str("    </testcase>\n");
}

fn counts<'a>(outcomes: impl Iterator<Item = &'a Outcome>, errors: usize, took: Duration) -> String {
    let (mut tests, mut failures) = (errors, 0);
    for outcome in outcomes {
        tests += 1;
        failures += usize::from(outcome.failure.is_some());
    }
    format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{}\"", seconds(took))
}

fn seconds(took: Duration) -> String {
    format!("{:.3}", took.as_secs_f64())
}

/// For text and for attributes; characters that XML 1.0 §2.2 has no place for become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Failure;

    #[test]
    fn what_tests_print_cannot_break_the_document() {
        let failure = Failure { line: 7, step: "ann< {\"a\":1}".into(), what: "<b> & \u{1} \"c\"\nmore".into() };
        let outcome = |failure| Outcome { title: "a <b>".into(), line: 5, failure, took: Duration::from_millis(12) };
        let outcomes = Ok(vec![outcome(None), outcome(Some(failure))]);
        let played = Played { file: "plugins/x.test".into(), app: Some("x".into()), outcomes };
        let text = of(&[played]);
        assert_eq!(
            text,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"weir test\" tests=\"2\" failures=\"1\" errors=\"0\" time=\"0.024\">\n\
             \x20 <testsuite name=\"plugins/x.test\" tests=\"2\" failures=\"1\" errors=\"0\" time=\"0.024\">\n\
             \x20   <testcase name=\"a &lt;b&gt;\" classname=\"x\" time=\"0.012\"/>\n\
             \x20   <testcase name=\"a &lt;b&gt;\" classname=\"x\" time=\"0.012\">\n\
             \x20     <failure message=\"&lt;b&gt; &amp; \u{fffd} &quot;c&quot;\" type=\"failure\">plugins/x.test:7: a &lt;b&gt;&#10;&gt; ann&lt; {&quot;a&quot;:1}&#10;&lt;b&gt; &amp; \u{fffd} &quot;c&quot;&#10;more</failure>\n\
             \x20   </testcase>\n\
             \x20 </testsuite>\n\
             </testsuites>\n"
        );
    }
}
