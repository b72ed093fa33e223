//! An explanation as JSON, and read back from it: whoever asks a running gateway shows it as if the files were here.

use super::explain::{Explanation, Part};
use crate::model::{Code, Refusal};
use serde_json::{Value, json};
use std::borrow::Cow;

impl Explanation {
    pub fn to_json(&self) -> Value {
        let refusal = self.refusal.as_ref();
        let vars = self.vars.iter().map(|(name, value)| (name.clone(), json!(value)));
        json!({
            "allowed": self.allowed,
            "class": self.class,
            "vars": vars.collect::<serde_json::Map<_, _>>(),
            "rule": self.origin,
            "expression": self.rule.as_ref().map(Part::to_json),
            "error": self.error,
            "code": refusal.map(|r| r.code.as_str()),
            "message": refusal.and_then(|r| r.message.as_deref()),
            "alias": self.alias.as_deref().map(Explanation::to_json),
        })
    }

    /// `None`: it is none.
    pub fn of_json(told: &Value) -> Option<Explanation> {
        let text = |key: &str| told[key].as_str().map(str::to_owned);
        let code = Code::ALL.into_iter().find(|code| Some(code.as_str()) == told["code"].as_str());
        let vars = told["vars"].as_object()?.iter();
        Some(Explanation {
            class: text("class"),
            vars: vars.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect::<Option<_>>()?,
            origin: text("rule")?,
            rule: match &told["expression"] {
                Value::Null => None,
                part => Some(Part::of_json(part)?),
            },
            allowed: told["allowed"].as_bool()?,
            error: text("error"),
            refusal: code.map(|code| Refusal { code, message: text("message").map(Cow::Owned), ..Refusal::new(code) }),
            alias: match &told["alias"] {
                Value::Null => None,
                alias => Some(Box::new(Explanation::of_json(alias)?)),
            },
        })
    }
}

impl Part {
    fn to_json(&self) -> Value {
        json!({ "text": self.text, "value": self.value, "parts": self.parts.iter().map(Part::to_json).collect::<Vec<_>>() })
    }

    fn of_json(told: &Value) -> Option<Part> {
        Some(Part {
            text: told["text"].as_str()?.to_owned(),
            value: told["value"].as_str()?.to_owned(),
            parts: told["parts"].as_array()?.iter().map(Part::of_json).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_read_back() {
        let part = |text: &str, parts| Part { text: text.into(), value: "false".into(), parts };
        let mut why = Explanation {
            class: Some("clinic:{id}".into()),
            vars: vec![("id".into(), "c1".into())],
            origin: "channels/clinic.toml:1:2 subscribe".into(),
            rule: Some(part("a && b", vec![part("a", Vec::new()), part("b", Vec::new())])),
            allowed: false,
            error: Some("no row".into()),
            refusal: Some(Refusal::because(Code::Denied, "not yours")),
            alias: None,
        };
        why.alias = Some(Box::new(why.clone()));
        assert_eq!(Explanation::of_json(&why.to_json()), Some(why));
        assert_eq!(Explanation::of_json(&json!({ "allowed": true })), None);
    }
}
