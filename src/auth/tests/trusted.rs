//! Clients that are believed, and what a message says beside its token.

use super::*;

fn believing(more: Value) -> Authenticator {
    let mut settings = json!({ "type": "trusted", "require": ["user_id", "organization_id"] });
    settings.as_object_mut().unwrap().extend(row(more));
    auth(settings)
}

async fn says(auth: &Authenticator, claims: Value) -> Outcome {
    let claims = row(claims);
    auth.authenticate(&Credentials { claims: Some(&claims), ..Credentials::default() }, Now::at(NOW)).await
}

fn reason(outcome: Outcome) -> (Cause, String) {
    match outcome {
        Outcome::Failed { cause, reason } => (cause, reason.into_owned()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_trusted_client_is_who_it_says_and_no_more() {
    let auth = believing(json!({ "optional": ["session_id"], "roles": ["role"], "defaults": { "plan": "free" } }));
    assert!(auth.takes_messages() && !auth.takes_tokens() && *auth.on_failed() == Action::Retry);
    let said =
        json!({ "user_id": "u1", "organization_id": "o1", "role": "admin", "session_id": 5, "token": "t", "x": 1 });
    let Outcome::Identity(identity) = says(&auth, said).await else { panic!("refused") };
    assert_eq!(identity.user.as_deref(), Some("u1"));
    let claims = json!({ "user_id": "u1", "organization_id": "o1", "session_id": 5, "plan": "free",
                         "role": "admin", "roles": ["admin"], "id": "u1" });
    assert_eq!(Value::Object(identity.claims.clone()), claims);
    let plain = believing(json!({}));
    let Outcome::Identity(identity) =
        says(&plain, json!({ "user_id": "u1", "organization_id": "o1", "role": "admin" })).await
    else {
        panic!("refused")
    };
    assert_eq!(identity.claim("role"), None, "nobody said that roles are believed");
}

#[tokio::test]
async fn a_trusted_client_that_leaves_something_out_is_told_what() {
    let auth = believing(json!({}));
    for (said, why) in [
        (json!({ "user_id": "u1" }), "field `organization_id` is missing"),
        (json!({ "user_id": "u1", "organization_id": null }), "field `organization_id` is missing"),
        (json!({ "user_id": "", "organization_id": "o1" }), "field `user_id` is no text, or an empty one"),
        (json!({ "user_id": 7, "organization_id": "o1" }), "field `user_id` is no text, or an empty one"),
        (json!({ "user_id": "u\n", "organization_id": "o1" }), "field `user_id` has control characters"),
        (json!({ "user_id": "u".repeat(300), "organization_id": "o1" }), "field `user_id` is too long"),
        (json!({}), "field `user_id` is missing"),
    ] {
        assert_eq!(reason(says(&auth, said).await), (Cause::Claims, why.into()));
    }
    // A token says nothing here, and neither does silence.
    assert!(matches!(show(&auth, "token").await, Outcome::Missing));
    assert!(auth.issue(&Issue::default(), NOW).is_err());
}

#[tokio::test]
async fn a_query_is_believed_only_where_the_settings_say_so() {
    let ask = async |auth: &Authenticator, query: &str| {
        auth.authenticate(&Credentials { query, ..Credentials::default() }, Now::at(NOW)).await
    };
    let query = "user_id=u%201&organization_id=o1";
    assert!(matches!(ask(&believing(json!({})), query).await, Outcome::Missing));
    let auth = believing(json!({ "from": ["message", "query"] }));
    let Outcome::Identity(identity) = ask(&auth, query).await else { panic!("refused") };
    assert_eq!(identity.user.as_deref(), Some("u 1"));
    assert!(matches!(ask(&auth, "x=1").await, Outcome::Missing));
    assert_eq!(reason(ask(&auth, "user_id=u1").await).1, "field `organization_id` is missing");
    let peeked = auth.peek(&Credentials { query, ..Credentials::default() }, "user_id", Now::at(NOW)).await;
    assert_eq!(peeked, Peek::Missing, "no token tells endpoints apart");
}

#[tokio::test]
async fn a_trusted_connection_stays_who_it_is() {
    let auth = believing(json!({}));
    let Outcome::Identity(current) = says(&auth, json!({ "user_id": "u1", "organization_id": "o1" })).await else {
        panic!("refused")
    };
    let again = async |user: &str, organization: &str| {
        let claims = row(json!({ "user_id": user, "organization_id": organization }));
        auth.refresh(&current, &Credentials { claims: Some(&claims), ..Credentials::default() }, Now::at(NOW)).await
    };
    assert!(matches!(again("u1", "o1").await, Outcome::Identity(fresh) if fresh.version == 1));
    assert_eq!(reason(again("u2", "o1").await), (Cause::OtherUser, "of another user".into()));
    assert_eq!(reason(again("u1", "o2").await), (Cause::OtherUser, "of another `organization_id`".into()));
}

#[tokio::test]
async fn what_is_said_beside_a_token_must_be_what_the_token_says() {
    let settings = json!({ "type": "jwt", "keys": ["jwt"], "from": ["message"], "match": ["user_id", "organization_id"],
                "user": ["user_id", "sub"] });
    let auth = auth(settings);
    let token = |organization: &str| hs256(json!({ "sub": "u1", "organization_id": organization, "exp": at(600) }));
    let show = async |token: &str, claims: Value| {
        let claims = row(claims);
        let shown = Credentials { message: Some(token), claims: Some(&claims), ..Credentials::default() };
        auth.authenticate(&shown, Now::at(NOW)).await
    };
    for said in [
        json!({}),
        json!({ "organization_id": "o1" }),
        json!({ "user_id": "u1", "organization_id": "o1", "token": "x", "more": 1 }),
        json!({ "user_id": null }),
    ] {
        assert!(matches!(show(&token("o1"), said).await, Outcome::Identity(_)));
    }
    let differs = |claim: &str| (Cause::Claims, format!("claim `{claim}` is not the token's"));
    assert_eq!(reason(show(&token("o1"), json!({ "organization_id": "o2" })).await), differs("organization_id"));
    assert_eq!(reason(show(&token("o1"), json!({ "user_id": "u2" })).await), differs("user_id"));

    let Outcome::Identity(current) = show(&token("o1"), json!({})).await else { panic!("refused") };
    let fresh = async |token: &str| auth.refresh(&current, &Credentials::of_message(token), Now::at(NOW)).await;
    assert!(matches!(fresh(&token("o1")).await, Outcome::Identity(_)));
    assert_eq!(reason(fresh(&token("o2")).await), (Cause::OtherUser, "of another `organization_id`".into()));
}
