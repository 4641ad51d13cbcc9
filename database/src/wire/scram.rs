//! SCRAM-SHA-256 as the server's side of RFC 5802 and RFC 7677, with tls-server-end-point binding.
//!
//! Invariant: a user that does not exist takes the same messages and the same work as one that does,
//! with a salt that stays the same for its name; comparisons take the same time whatever they compare.

use super::message::utf8;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

type HmacSha256 = Hmac<Sha256>;

/// Rounds of the password's hash; RFC 7677 asks for 4,096 and more where it can be borne.
pub const ITERATIONS: u32 = 15_000;
/// Bytes of a salt.
const SALT_BYTES: usize = 16;
/// Bytes of our part of the nonce.
const NONCE_BYTES: usize = 18;

/// Without and with the binding to the TLS channel.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// With the binding to the TLS channel.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier({} rounds, keys hidden)", self.iterations)
    }
}

impl Verifier {
    /// Of a password, under a salt.
    pub fn new(password: &str, salt: &[u8], iterations: u32) -> Self {
        let prepared = stringprep::saslprep(password);
        let password = prepared.as_deref().unwrap_or(password);
        let salted = salted_password(password.as_bytes(), salt, iterations);
        Verifier {
            salt: salt.to_vec(),
            iterations,
            stored_key: Sha256::digest(mac(&salted, &[b"Client Key"])).into(),
            server_key: mac(&salted, &[b"Server Key"]),
        }
    }

    /// Of a password, under a random salt.
    pub fn random(password: &str) -> Self {
        let salt: [u8; SALT_BYTES] = rand::random();
        Self::new(password, &salt, ITERATIONS)
    }

    /// As PostgreSQL stores it: `SCRAM-SHA-256$iterations:salt$stored:server`.
    pub fn to_text(&self) -> String {
        format!(
            "{MECHANISM}${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key)
        )
    }

    /// Reads what PostgreSQL stores.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(MECHANISM)?.strip_prefix('$')?;
        let (parameters, keys) = rest.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        Some(Verifier {
            salt: STANDARD.decode(salt).ok()?,
            iterations: iterations.parse().ok().filter(|count| *count >= 1)?,
            stored_key: STANDARD.decode(stored).ok()?.try_into().ok()?,
            server_key: STANDARD.decode(server).ok()?.try_into().ok()?,
        })
    }

    /// Stands in for a user that does not exist: a salt of the name and of a secret of this server,
    /// and keys that no password has.
    fn mock(secret: &[u8; 32], user: &str) -> Self {
        let salt = mac(secret, &[b"salt", user.as_bytes()]);
        Verifier {
            salt: salt[..SALT_BYTES].to_vec(),
            iterations: ITERATIONS,
            stored_key: mac(secret, &[b"stored", user.as_bytes()]),
            server_key: mac(secret, &[b"server", user.as_bytes()]),
        }
    }
}

/// PBKDF2 with one block, which is what `Hi` of RFC 5802 is.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let keyed = HmacSha256::new_from_slice(password).expect("HMAC takes keys of any length");
    let mut block: [u8; 32] = {
        let mut first = keyed.clone();
        first.update(salt);
        first.update(&1u32.to_be_bytes());
        first.finalize().into_bytes().into()
    };
    let mut sum = block;
    for _ in 1..iterations {
        let mut next = keyed.clone();
        next.update(&block);
        block = next.finalize().into_bytes().into();
        sum.iter_mut().zip(block).for_each(|(a, b)| *a ^= b);
    }
    sum
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Why a conversation ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScramError {
    /// A message that breaks the protocol: what about it.
    Malformed(&'static str),
    /// The proof does not fit, or the user does not exist: the client is not told which.
    Refused,
}

/// A conversation after the client's first message.
#[derive(Debug)]
pub struct Conversation {
    verifier: Verifier,
    exists: bool,
    nonce: String,
    /// `c=` of the client's final message.
    binding: String,
    /// Client's first message without its header, and the server's first message.
    transcript: String,
}

impl Conversation {
    /// Takes the client's first message: the conversation, and the server's first message.
    /// `endpoint` is the hash of the TLS certificate where the mechanism is the one with binding.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn begin(
        first: &[u8],
        user: &str,
        verifier: Option<Verifier>,
        secret: &[u8; 32],
        plus: bool,
        endpoint: Option<&[u8]>,
    ) -> Result<(Self, String), ScramError> {
        const BAD: ScramError = ScramError::Malformed("the client's first message is malformed");
        let first = utf8(first).map_err(|_| ScramError::Malformed("the message is not UTF-8"))?;
        // gs2-cbind-flag "," [authzid] "," "n=" user ",r=" nonce
        let mut parts = first.splitn(3, ',');
        let flag = parts.next().ok_or(BAD)?;
        let identity = parts.next().ok_or(BAD)?;
        let bare = parts.next().ok_or(BAD)?;
        if !identity.is_empty() {
            return Err(ScramError::Malformed("another identity is not supported"));
        }
        let mut bound = format!("{flag},{identity},").into_bytes();
        match (flag, plus, endpoint) {
            ("n", false, _) | ("y", false, None) => {}
            ("p=tls-server-end-point", true, Some(hash)) => bound.extend_from_slice(hash),
            // "y": the client believes that we have no binding, but we offered it.
            _ => {
                return Err(ScramError::Malformed(
                    "the channel binding does not fit the mechanism",
                ));
            }
        }
        // The name is ignored as in PostgreSQL: the one of the startup packet counts.
        let nonce = bare.strip_prefix("n=").and_then(|rest| {
            let (_, rest) = rest.split_once(',')?;
            let nonce = rest.strip_prefix("r=")?;
            nonce.split(',').next()
        });
        let nonce = nonce.filter(|nonce| !nonce.is_empty()).ok_or(BAD)?;
        if !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BAD);
        }
        let ours: [u8; NONCE_BYTES] = rand::random();
        let nonce = format!("{nonce}{}", STANDARD.encode(ours));
        let exists = verifier.is_some();
        let verifier = verifier.unwrap_or_else(|| Verifier::mock(secret, user));
        let answer = format!(
            "r={nonce},s={},i={}",
            STANDARD.encode(&verifier.salt),
            verifier.iterations
        );
        let conversation = Conversation {
            verifier,
            exists,
            nonce,
            binding: STANDARD.encode(bound),
            transcript: format!("{bare},{answer}"),
        };
        Ok((conversation, answer))
    }

    /// Takes the client's final message: the server's final message.
    ///
    /// # Errors
    /// `Malformed`, `Refused`.
    pub fn finish(self, last: &[u8]) -> Result<String, ScramError> {
        const BAD: ScramError = ScramError::Malformed("the client's final message is malformed");
        let last = utf8(last).map_err(|_| ScramError::Malformed("the message is not UTF-8"))?;
        let (without_proof, proof) = last.rsplit_once(",p=").ok_or(BAD)?;
        let proof: [u8; 32] = STANDARD
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(BAD)?;
        let mut fields = without_proof.split(',');
        let binding = fields.next().and_then(|field| field.strip_prefix("c="));
        let nonce = fields.next().and_then(|field| field.strip_prefix("r="));
        if binding.ok_or(BAD)? != self.binding {
            return Err(ScramError::Malformed("the channel binding was changed"));
        }
        if nonce.ok_or(BAD)? != self.nonce {
            return Err(ScramError::Malformed(
                "the nonce is not that of this conversation",
            ));
        }
        let message = format!("{},{without_proof}", self.transcript);
        let mut client_key = mac(&self.verifier.stored_key, &[message.as_bytes()]);
        client_key.iter_mut().zip(proof).for_each(|(a, b)| *a ^= b);
        let stored: [u8; 32] = Sha256::digest(client_key).into();
        let signature = mac(&self.verifier.server_key, &[message.as_bytes()]);
        // `blake3::Hash` compares in constant time.
        let fits =
            blake3::Hash::from_bytes(stored) == blake3::Hash::from_bytes(self.verifier.stored_key);
        if !(fits & self.exists) {
            return Err(ScramError::Refused);
        }
        Ok(format!("v={}", STANDARD.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client, from the RFC.
    pub(crate) fn proof(
        password: &str,
        first_bare: &str,
        server_first: &str,
        binding: &str,
    ) -> String {
        let part = |name: &str| {
            let mut fields = server_first.split(',');
            fields.find_map(|field| field.strip_prefix(name)).unwrap()
        };
        let salt = STANDARD.decode(part("s=")).unwrap();
        let salted = salted_password(password.as_bytes(), &salt, part("i=").parse().unwrap());
        let key = mac(&salted, &[b"Client Key"]);
        let stored: [u8; 32] = Sha256::digest(key).into();
        let without_proof = format!("c={binding},r={}", part("r="));
        let message = format!("{first_bare},{server_first},{without_proof}");
        let mut proof = mac(&stored, &[message.as_bytes()]);
        proof.iter_mut().zip(key).for_each(|(a, b)| *a ^= b);
        format!("{without_proof},p={}", STANDARD.encode(proof))
    }

    fn begin(verifier: Option<Verifier>) -> (Conversation, String) {
        Conversation::begin(b"n,,n=,r=abc", "cairn", verifier, &[7; 32], false, None).unwrap()
    }

    /// The example of RFC 7677, section 3: its keys follow from its password, salt and rounds.
    #[test]
    fn vector_of_the_rfc() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::new("pencil", &salt, 4096);
        let first = "n=user,r=rOprNGfwEbeRWgbNEkqO";
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                      s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let last = proof("pencil", first, server, "biws");
        assert!(last.ends_with(",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="));
        let conversation = Conversation {
            verifier,
            exists: true,
            nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned(),
            binding: "biws".to_owned(),
            transcript: format!("{first},{server}"),
        };
        assert_eq!(
            conversation.finish(last.as_bytes()).unwrap(),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn right_and_wrong_passwords() {
        let verifier = Verifier::new("pencil", b"salt", 10);
        assert_eq!(Verifier::parse(&verifier.to_text()), Some(verifier.clone()));
        for (password, good) in [("pencil", true), ("pen", false)] {
            let (conversation, server) = begin(Some(verifier.clone()));
            let last = proof(password, "n=,r=abc", &server, "biws");
            assert_eq!(conversation.finish(last.as_bytes()).is_ok(), good);
        }
    }

    #[test]
    fn an_unknown_user_sees_a_steady_salt_and_is_refused() {
        let (conversation, server) = begin(None);
        let (_, again) = begin(None);
        let salt = |text: &str| text.split(',').nth(1).unwrap().to_owned();
        assert_eq!(salt(&server), salt(&again));
        assert!(server.ends_with(&format!(",i={ITERATIONS}")));
        let last = proof("any", "n=,r=abc", &server, "biws");
        assert_eq!(
            conversation.finish(last.as_bytes()),
            Err(ScramError::Refused)
        );
    }

    #[test]
    fn replayed_nonce_changed_binding_and_rubbish() {
        let verifier = Verifier::new("pencil", b"salt", 10);
        let (first, server) = begin(Some(verifier.clone()));
        let old = proof("pencil", "n=,r=abc", &server, "biws");
        assert!(first.finish(old.as_bytes()).is_ok());
        let (second, _) = begin(Some(verifier.clone()));
        assert!(matches!(
            second.finish(old.as_bytes()),
            Err(ScramError::Malformed(_))
        ));
        let (third, server) = begin(Some(verifier.clone()));
        let changed = proof("pencil", "n=,r=abc", &server, "eSws");
        assert!(matches!(
            third.finish(changed.as_bytes()),
            Err(ScramError::Malformed(_))
        ));
        for bad in [
            &b""[..],
            b"n,,",
            b"n,,n=",
            b"n,,n=,r=",
            b"x,,n=,r=a",
            b"n,a=b,n=,r=a",
            b"\xff",
        ] {
            let begun = Conversation::begin(bad, "u", None, &[0; 32], false, None);
            assert!(begun.is_err(), "{bad:?}");
        }
        for bad in [&b""[..], b"c=biws", b"c=biws,r=x,p=", b"p=AAAA", b"\xff,p="] {
            let (conversation, _) = begin(Some(verifier.clone()));
            assert!(conversation.finish(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn binding_to_the_channel() {
        let verifier = Verifier::new("pencil", b"salt", 10);
        let start = |first: &[u8], plus, endpoint| {
            Conversation::begin(first, "u", Some(verifier.clone()), &[0; 32], plus, endpoint)
        };
        let hash = Some(&b"certificate"[..]);
        let (conversation, server) =
            start(b"p=tls-server-end-point,,n=,r=abc", true, hash).unwrap();
        let bound = STANDARD.encode(b"p=tls-server-end-point,,certificate");
        let last = proof("pencil", "n=,r=abc", &server, &bound);
        assert!(conversation.finish(last.as_bytes()).is_ok());
        // Somebody between took the offer away, or the client asks for another binding.
        assert!(start(b"y,,n=,r=abc", false, hash).is_err());
        assert!(start(b"n,,n=,r=abc", true, hash).is_err());
        assert!(start(b"p=tls-unique,,n=,r=abc", true, hash).is_err());
    }
}
