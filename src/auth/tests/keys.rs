//! Every algorithm, and tokens that try to choose their own.

use super::*;

const PUBLIC: [Algorithm; 9] = {
    use Algorithm::*;
    [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA]
};

fn jwt() -> Value {
    json!({ "type": "jwt", "keys": ["k"], "from": ["message"] })
}

#[tokio::test]
async fn every_algorithm_verifies_its_own_tokens_and_no_others() {
    for alg in PUBLIC {
        let (right, wrong) = (pair(alg), pair(alg));
        let name = format!("{alg:?}");
        let keys = keys(json!({ "k": { "algorithms": [name], "public": { "file": right.pem } } })).unwrap();
        let auth = auth_with(jwt(), &keys, &Tables::default());
        let claims = json!({ "sub": "ann", "exp": at(60) });
        assert_eq!(admitted(&auth, &right.token(None, claims.clone())).await.user.as_deref(), Some("ann"), "{name}");
        assert_eq!(refused(&auth, &wrong.token(None, claims)).await, Cause::Signature, "{name}");
    }
    for alg in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let keys = keys(json!({ "k": { "algorithms": [format!("{alg:?}")], "secret": { "env": SECRET } } })).unwrap();
        let auth = auth_with(jwt(), &keys, &Tables::default());
        let token = |secret: &str| {
            let key = EncodingKey::from_secret(secret.as_bytes());
            signed(json!({ "alg": format!("{alg:?}") }), &json!({ "sub": "ann", "exp": at(60) }), &key, alg.jwa())
        };
        assert_eq!(admitted(&auth, &token(SECRET)).await.user.as_deref(), Some("ann"));
        assert_eq!(refused(&auth, &token("another")).await, Cause::Signature);
    }
}

#[tokio::test]
async fn a_token_does_not_choose_its_algorithm() {
    let claims = json!({ "sub": "ann", "exp": at(60) });
    let auth = auth(json!({ "type": "jwt", "keys": ["jwt"], "from": ["message"] }));
    for alg in ["none", "None", "nOnE", "", "HS257"] {
        let token = hs256(claims.clone());
        let body = token.split('.').nth(1).unwrap();
        let header = base64::Engine::encode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            json!({ "alg": alg, "typ": "JWT" }).to_string(),
        );
        for token in [format!("{header}.{body}."), format!("{header}.{body}"), format!("{header}.{body}.AAAA")] {
            assert_eq!(refused(&auth, &token).await, Cause::Malformed, "{alg}");
        }
    }
    let hs512 = signed(
        json!({ "alg": "HS512" }),
        &claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
        jsonwebtoken::Algorithm::HS512,
    );
    assert_eq!(refused(&auth, &hs512).await, Cause::Signature);
    // The header says HS512 and the signature is HS256's.
    let mixed = signed(
        json!({ "alg": "HS512" }),
        &claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
        jsonwebtoken::Algorithm::HS256,
    );
    assert_eq!(refused(&auth, &mixed).await, Cause::Signature);
}

#[tokio::test]
async fn a_public_key_is_no_hmac_secret() {
    let rsa = pair(Algorithm::RS256);
    let keys = keys(json!({ "k": { "algorithms": ["RS256"], "public": { "file": rsa.pem } } })).unwrap();
    let auth = auth_with(jwt(), &keys, &Tables::default());
    for secret in [rsa.pem.as_bytes(), rsa.pem.trim().as_bytes()] {
        let key = EncodingKey::from_secret(secret);
        let claims = json!({ "sub": "admin", "exp": at(60) });
        let token = signed(json!({ "alg": "HS256" }), &claims, &key, jsonwebtoken::Algorithm::HS256);
        assert_eq!(refused(&auth, &token).await, Cause::Signature);
    }
}

#[tokio::test]
async fn what_a_token_brings_along_is_not_a_key() {
    let stranger = pair(Algorithm::ES256);
    let ours = pair(Algorithm::ES256);
    let keys = keys(json!({ "k": { "algorithms": ["ES256"], "public": { "file": ours.pem } } })).unwrap();
    let auth = auth_with(jwt(), &keys, &Tables::default());
    let claims = json!({ "sub": "ann", "exp": at(60) });
    let header = json!({ "alg": "ES256", "jwk": stranger.jwk("k"), "jku": "http://127.0.0.1:1/", "kid": "k" });
    assert_eq!(refused(&auth, &signed(header, &claims, &stranger.sign, stranger.alg)).await, Cause::Signature);
    let critical = json!({ "alg": "ES256", "crit": ["b64"], "b64": true });
    assert_eq!(refused(&auth, &signed(critical, &claims, &ours.sign, ours.alg)).await, Cause::Malformed);
}

#[tokio::test]
async fn a_key_that_cannot_do_is_told_when_files_load() {
    let (p256, rsa) = (pair(Algorithm::ES256), pair(Algorithm::RS256));
    let private = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    let secret = json!({ "env": SECRET });
    for (settings, path, what) in [
        (json!({ "algorithms": [], "secret": secret }), "k.algorithms", "a key without algorithms"),
        (
            json!({ "algorithms": ["HS256", "RS256"], "secret": secret }),
            "k.algorithms",
            "algorithms of two families, `HS256` and `RS256`",
        ),
        (
            json!({ "algorithms": ["HS256"], "public": { "file": rsa.pem } }),
            "k.algorithms",
            "HS algorithms with a public key",
        ),
        (
            json!({ "algorithms": ["HS256"], "jwks": { "url": "https://x/" } }),
            "k.algorithms",
            "HS algorithms with a public key",
        ),
        (json!({ "algorithms": ["RS256"], "secret": secret }), "k.secret", "a secret for algorithms of public keys"),
        (json!({ "algorithms": ["HS256"] }), "k", "a key without material, or with several"),
        (json!({ "algorithms": ["HS256"], "secret": { "env": "" } }), "k.secret", "an empty secret"),
        (
            json!({ "algorithms": ["ES384"], "public": { "file": p256.pem } }),
            "k.public",
            "a public key that `ES384` cannot be verified with",
        ),
        (
            json!({ "algorithms": ["EdDSA"], "public": { "file": p256.pem } }),
            "k.public",
            "not a public key for `EdDSA`",
        ),
        (json!({ "algorithms": ["RS256"], "public": { "file": "x" } }), "k.public", "not a public key in PEM"),
        (
            json!({ "algorithms": ["ES256"], "public": { "file": private } }),
            "k.public",
            "a private key; who verifies tokens must not be able to make them",
        ),
        (json!({ "algorithms": ["RS256"], "jwks": {} }), "k.jwks", "a key set from nowhere, or from two places"),
        (json!({ "algorithms": ["RS256"], "jwks": { "file": "x" } }), "k.jwks.file", "not a JSON Web Key Set"),
        (
            json!({ "algorithms": ["RS256"], "jwks": { "url": "ftp://x/" } }),
            "k.jwks.url",
            "not an http or https address",
        ),
        (
            json!({ "algorithms": ["RS256"], "jwks": { "url": "https://a:b@x/" } }),
            "k.jwks.url",
            "an address with credentials in it; they belong into `headers`",
        ),
    ] {
        let problems = keys(json!({ "k": settings })).unwrap_err();
        assert_eq!((problems[0].path.as_str(), problems[0].what.as_str()), (path, what));
    }
    assert!(serde_json::from_value::<KeySettings>(json!({ "algorithms": ["none"] })).is_err());
    let key = keys(json!({ "k": { "algorithms": ["HS256"], "secret": { "env": SECRET } } })).unwrap();
    assert_eq!(format!("{:?}", key.get("k").unwrap()), "Key(k [HS256] [secret])");
}
