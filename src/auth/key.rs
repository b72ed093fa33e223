//! Keys that tokens are verified with. A key fixes the algorithms; a token's header chooses within them.

use super::fetch::{Fetcher, address};
use super::jwks::{Candidates, KeySet, RemoteKeys};
use super::outcome::Failure;
use super::settings::{Algorithm, JwksSettings, KeySettings};
use super::{Purpose, Resolve};
use crate::model::{Mono, Problem, SecretSource};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, EncodingKey};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

impl Algorithm {
    pub(super) fn jwa(self) -> jsonwebtoken::Algorithm {
        use jsonwebtoken::Algorithm as Jwa;
        match self {
            Algorithm::HS256 => Jwa::HS256,
            Algorithm::HS384 => Jwa::HS384,
            Algorithm::HS512 => Jwa::HS512,
            Algorithm::RS256 => Jwa::RS256,
            Algorithm::RS384 => Jwa::RS384,
            Algorithm::RS512 => Jwa::RS512,
            Algorithm::PS256 => Jwa::PS256,
            Algorithm::PS384 => Jwa::PS384,
            Algorithm::PS512 => Jwa::PS512,
            Algorithm::ES256 => Jwa::ES256,
            Algorithm::ES384 => Jwa::ES384,
            Algorithm::EdDSA => Jwa::EdDSA,
        }
    }
}

/// The keys of gateway.toml by name.
#[derive(Clone, Debug, Default)]
pub struct Keys(BTreeMap<String, Arc<Key>>);

impl Keys {
    /// Reads secrets and key files. A key set behind a URL is taken over from `previous` where its settings are the same,
    /// so that a reload forgets no fetched key. Paths of problems: `NAME.public`.
    pub fn compile(
        settings: &BTreeMap<String, KeySettings>,
        resolve: Resolve<'_>,
        fetcher: &Fetcher,
        previous: Option<&Keys>,
    ) -> Result<Keys, Vec<Problem>> {
        let (mut keys, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, key) in settings {
            let before = previous.and_then(|p| p.get(name));
            match Key::compile(name, key, resolve, fetcher, before) {
                Ok(key) => drop(keys.insert(name.clone(), Arc::new(key))),
                Err(mut p) => {
                    p.path = format!("{name}{}{}", if p.path.is_empty() { "" } else { "." }, p.path);
                    problems.push(p);
                }
            }
        }
        if problems.is_empty() { Ok(Keys(keys)) } else { Err(problems) }
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Key>> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.0.values()
    }
}

/// One `[key.NAME]`. Prints without its material.
pub struct Key {
    name: String,
    kid: String,
    algorithms: Vec<Algorithm>,
    material: Material,
}

enum Material {
    One { verify: DecodingKey, sign: Option<EncodingKey> },
    Set(KeySet),
    Remote { settings: JwksSettings, keys: Arc<RemoteKeys> },
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Key({} {:?} [secret])", self.name, self.algorithms)
    }
}

impl Key {
    fn compile(
        name: &str,
        settings: &KeySettings,
        resolve: Resolve<'_>,
        fetcher: &Fetcher,
        before: Option<&Arc<Key>>,
    ) -> Result<Key, Problem> {
        let family = family(&settings.algorithms)?;
        let hmac = family == AlgorithmFamily::Hmac;
        let read =
            |path: &str, from: &SecretSource, purpose| resolve(from, purpose).map_err(|why| Problem::new(path, why));
        let material = match (&settings.secret, &settings.public, &settings.jwks) {
            (Some(secret), None, None) if hmac => {
                let secret = read("secret", secret, Purpose::Verify)?;
                if secret.expose().is_empty() {
                    return Err(Problem::new("secret", "an empty secret"));
                }
                let sign = Some(EncodingKey::from_secret(secret.expose()));
                Material::One { verify: DecodingKey::from_secret(secret.expose()), sign }
            }
            (None, Some(public), None) if !hmac => {
                let pem = read("public", public, Purpose::Public)?;
                let verify = public_key(pem.expose(), family, &settings.algorithms);
                let verify = verify.map_err(|p| {
                    if let SecretSource::File(name) = public { at_pem(p, name, pem.expose()) } else { p }
                })?;
                Material::One { verify, sign: None }
            }
            (None, None, Some(jwks)) if !hmac => Material::jwks(name, jwks, resolve, fetcher, before)?,
            (Some(_), None, None) => {
                return Err(Problem::new("secret", "a secret for algorithms of public keys")
                    .expected("`public` or `jwks`, or HS256, HS384 or HS512"));
            }
            (None, Some(_), None) | (None, None, Some(_)) => {
                return Err(Problem::new("algorithms", "HS algorithms with a public key")
                    .expected("`secret`, or RS, PS, ES or EdDSA"));
            }
            _ => {
                return Err(Problem::new("", "a key without material, or with several")
                    .expected("exactly one of `secret`, `public` and `jwks`"));
            }
        };
        let kid = settings.kid.clone().unwrap_or_else(|| name.into());
        Ok(Key { name: name.into(), kid, algorithms: settings.algorithms.clone(), material })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many fetches of its key set have failed; 0 for a key without a URL.
    pub fn faults(&self) -> u64 {
        match &self.material {
            Material::Remote { keys, .. } => keys.faults(),
            Material::One { .. } | Material::Set(_) => 0,
        }
    }

    /// Fetches its key set before a token asks for it.
    pub fn prepare(&self, now: Mono) {
        if let Material::Remote { keys, .. } = &self.material {
            keys.prepare(now);
        }
    }

    /// Why tokens may go undecided now, for operators.
    pub fn trouble(&self) -> Option<String> {
        match &self.material {
            Material::Remote { keys, .. } => keys.trouble(),
            Material::One { .. } | Material::Set(_) => None,
        }
    }

    pub(super) fn allows(&self, alg: jsonwebtoken::Algorithm) -> bool {
        self.algorithms.iter().any(|a| a.jwa() == alg)
    }

    pub(super) fn is_called(&self, kid: &str) -> bool {
        self.kid == kid
    }

    /// The material that a token with this header may be verified with; waits for a fetch where it must.
    pub(super) async fn candidates(
        &self,
        alg: jsonwebtoken::Algorithm,
        kid: Option<&str>,
        now: Mono,
    ) -> Result<Candidates, Failure> {
        match &self.material {
            Material::One { verify, .. } => Ok(Candidates { keys: vec![verify.clone()], settled: true }),
            Material::Set(set) => Ok(Candidates { keys: set.find(alg, kid).keys, settled: true }),
            Material::Remote { keys, .. } => keys.find(alg, kid, now).await,
        }
    }

    /// What this key signs with; only secrets can.
    pub(super) fn signer(&self) -> Option<(jsonwebtoken::Algorithm, &str, &EncodingKey)> {
        match &self.material {
            Material::One { sign: Some(sign), .. } => Some((self.algorithms[0].jwa(), &self.kid, sign)),
            Material::One { .. } | Material::Set(_) | Material::Remote { .. } => None,
        }
    }
}

impl Material {
    fn jwks(
        name: &str,
        settings: &JwksSettings,
        resolve: Resolve<'_>,
        fetcher: &Fetcher,
        before: Option<&Arc<Key>>,
    ) -> Result<Material, Problem> {
        match (&settings.file, &settings.url) {
            (Some(file), None) => {
                let text = resolve(&SecretSource::File(file.clone()), Purpose::Public)
                    .map_err(|why| Problem::new("jwks.file", why))?;
                let set = KeySet::parse(text.expose()).map_err(|why| {
                    let (line, column) = place_of_json(text.expose());
                    Problem::new("jwks.file", why).in_file(file).at(line, column)
                })?;
                Ok(Material::Set(set))
            }
            (None, Some(url)) => {
                if let Some(Material::Remote { settings: old, keys }) = before.map(|b| &b.material)
                    && old == settings
                {
                    return Ok(Material::Remote { settings: old.clone(), keys: keys.clone() });
                }
                let uri = address(url).map_err(|why| Problem::new("jwks.url", why))?;
                let keys = Arc::new(RemoteKeys::new(name, uri, settings, fetcher.clone()));
                Ok(Material::Remote { settings: settings.clone(), keys })
            }
            _ => Err(Problem::new("jwks", "a key set from nowhere, or from two places")
                .expected("exactly one of `file` and `url`")),
        }
    }
}

/// The one family of a list of algorithms: a public key must never do for an HMAC secret.
fn family(algorithms: &[Algorithm]) -> Result<AlgorithmFamily, Problem> {
    let Some(first) = algorithms.first() else {
        return Err(Problem::new("algorithms", "a key without algorithms").expected("at least one, such as `HS256`"));
    };
    let family = first.jwa().family();
    match algorithms.iter().find(|a| a.jwa().family() != family) {
        None => Ok(family),
        Some(other) => {
            let what = format!("algorithms of two families, `{first:?}` and `{other:?}`");
            Err(Problem::new("algorithms", what)
                .expected("one family (HS, RS and PS, ES, EdDSA); a key of its own for each"))
        }
    }
}

/// Where the first block of a PEM file begins.
fn at_pem(problem: Problem, file: &str, pem: &[u8]) -> Problem {
    let line = pem.split(|b| *b == b'\n').position(|line| line.starts_with(b"-----BEGIN")).unwrap_or(0);
    problem.in_file(file).at(line as u32 + 1, 1)
}

/// Where a text stops being JSON; its beginning, where it is JSON and something else is wrong with it.
fn place_of_json(text: &[u8]) -> (u32, u32) {
    let error = serde_json::from_slice::<serde::de::IgnoredAny>(text).err();
    error.map_or((1, 1), |e| (e.line().max(1) as u32, e.column().max(1) as u32))
}

fn public_key(pem: &[u8], family: AlgorithmFamily, algorithms: &[Algorithm]) -> Result<DecodingKey, Problem> {
    let text = String::from_utf8_lossy(pem);
    if text.contains("PRIVATE KEY") {
        return Err(Problem::new("public", "a private key; who verifies tokens must not be able to make them")
            .expected("a PEM `PUBLIC KEY`"));
    }
    if !text.contains("-----BEGIN PUBLIC KEY-----") && !text.contains("-----BEGIN RSA PUBLIC KEY-----") {
        return Err(Problem::new("public", "not a public key in PEM").expected("a PEM `PUBLIC KEY`"));
    }
    let key = match family {
        AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(pem),
        AlgorithmFamily::Ec => DecodingKey::from_ec_pem(pem),
        AlgorithmFamily::Ed => DecodingKey::from_ed_pem(pem),
        AlgorithmFamily::Hmac => unreachable!("public keys are of other families"),
    };
    let key = key.map_err(|_| Problem::new("public", format!("not a public key for `{:?}`", algorithms[0])))?;
    match algorithms.iter().find(|a| !fits(&key, a.jwa())) {
        None => Ok(key),
        Some(a) => Err(Problem::new("public", format!("a public key that `{a:?}` cannot be verified with"))
            .expected("P-256 for ES256, P-384 for ES384, 2048 bits or more for RSA")),
    }
}

/// Whether a key of the right family also has the right curve, or for RSA enough bits (RFC 7518 §3.3, §3.4).
pub(super) fn fits(key: &DecodingKey, alg: jsonwebtoken::Algorithm) -> bool {
    use jsonwebtoken::Algorithm as Jwa;
    if key.family() != alg.family() {
        return false;
    }
    match (alg, key.kind()) {
        // An uncompressed point: 0x04, x, y.
        (Jwa::ES256, jsonwebtoken::DecodingKeyKind::SecretOrDer(point)) => point.len() == 65,
        (Jwa::ES384, jsonwebtoken::DecodingKeyKind::SecretOrDer(point)) => point.len() == 97,
        (_, jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. }) => n.len() >= 256,
        (_, jsonwebtoken::DecodingKeyKind::SecretOrDer(der)) => {
            alg.family() != AlgorithmFamily::Rsa || der.len() >= 256
        }
    }
}
