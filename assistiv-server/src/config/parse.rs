//! From text to the values of settings.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use assistiv_core::auth::{KeyKind, PresentedKey};
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use ipnet::IpNet;
use secrecy::{SecretBox, SecretString};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use url::{Host, Url};

use super::groups::{DatabaseUrl, Outbound};

/// Far above any sensible deadline, and small enough to be added to a point in time.
const DURATION_MAX: Duration = Duration::from_secs(168 * 60 * 60);

/// Decodes a master key: standard base64 of exactly 32 bytes, with or without padding.
pub fn decode_master_key(text: &str) -> Option<SecretBox<[u8; 32]>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let mut whole = true;
    let key = SecretBox::init_with_mut(|bytes: &mut [u8; 32]| {
        whole = engine
            .decode_slice(text, bytes)
            .is_ok_and(|length| length == bytes.len());
    });
    whole.then_some(key)
}

/// A master key as text.
pub(super) fn master_key(text: &str) -> Result<SecretString, String> {
    match decode_master_key(text) {
        Some(_) => Ok(SecretString::from(text)),
        None => Err(
            "must be base64 of exactly 32 bytes, such as `openssl rand -base64 32` prints"
                .to_owned(),
        ),
    }
}

/// An operator key with a correct checksum.
pub(super) fn operator_key(text: &str) -> Result<SecretString, String> {
    match text.parse::<PresentedKey>() {
        Ok(key) if key.kind() == KeyKind::Operator => Ok(SecretString::from(text)),
        _ => Err(
            "must be an operator key, `sk-admin_` and 56 digits, as `assistiv-server setup` prints"
                .to_owned(),
        ),
    }
}

/// Any path.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        Err("is empty".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

/// A whole number and a unit out of `ms`, `s`, `m`, `h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().ok()?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(60 * 60)?),
        _ => return None,
    };
    (duration <= DURATION_MAX).then_some(duration)
}

/// A plain decimal with at most three decimals that count, in parts per thousand.
pub(super) fn per_mille(text: &str) -> Option<u32> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if digits(fraction) => (whole, fraction.trim_end_matches('0')),
        Some(_) => return None,
        None => (text, ""),
    };
    if !digits(whole) || fraction.len() > 3 {
        return None;
    }
    let fraction: u32 = format!("{fraction:0<3}").parse().ok()?;
    whole
        .parse::<u32>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(fraction)
}

/// The base of an HTTP address.
pub(super) fn base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    let wrong = if !matches!(url.scheme(), "http" | "https") {
        "must start with http:// or https://"
    } else if !url.username().is_empty() || url.password().is_some() {
        "must not contain credentials"
    } else if url.query().is_some() || url.fragment().is_some() {
        "must have neither query nor fragment"
    } else {
        return Ok(url);
    };
    Err(wrong.to_owned())
}

/// [`base_url`], spelled as given.
pub(super) fn base_url_text(text: &str) -> Result<String, String> {
    base_url(text).map(|_| text.to_owned())
}

/// A file of SQLite, or a database of PostgreSQL. No reason quotes the text: it may have a password
/// in it.
pub(super) fn database_url(text: &str) -> Result<DatabaseUrl, String> {
    match text.split_once("://") {
        Some(("sqlite", "")) => Err("names no file, such as in sqlite://./assistiv.db".to_owned()),
        Some(("sqlite", path)) => Ok(DatabaseUrl::Sqlite(path.into())),
        Some(("postgres" | "postgresql", _)) if !cfg!(feature = "postgres") => {
            Err("names PostgreSQL, which this program was built without".to_owned())
        }
        Some(("postgres" | "postgresql", "")) => {
            Err("names no server, such as in postgres://user:password@host/assistiv".to_owned())
        }
        Some(("postgres" | "postgresql", _)) => Ok(DatabaseUrl::Postgres(text.into())),
        _ => Err("must start with sqlite:// or postgres://".to_owned()),
    }
}

/// A host name, an address or a network. The reason completes a sentence that starts with the text.
pub(super) fn outbound(text: &str) -> Result<Outbound, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Outbound::Network(IpNet::from(address)));
    }
    if text.contains('/') {
        let network: IpNet = text
            .parse()
            .map_err(|_| "is not a network such as 10.0.0.0/8".to_owned())?;
        // Silently widening 10.1.2.3/8 would open more than its author may have meant.
        return match network.trunc() {
            whole if whole == network => Ok(Outbound::Network(network)),
            whole => Err(format!(
                "has bits set after its prefix, the network is {whole}"
            )),
        };
    }
    let refused = || "is not a host name, an address or a network such as 10.0.0.0/8".to_owned();
    match Host::parse(text) {
        Ok(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(&name);
            let label = |label: &str| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            };
            match name.split('.').all(label) {
                true => Ok(Outbound::Host(name.to_owned())),
                false => Err(refused()),
            }
        }
        // 127.1 and its like are addresses to some readers and names to others.
        Ok(_) | Err(_) => Err(refused()),
    }
}

/// A filter as `tracing` understands it.
///
/// A bare word that is no level would switch everything off but the target of that name, which is
/// never what a misspelled level meant.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    // The empty word would parse as a level too.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    // Brackets hold fields with commas of their own.
    let mut words = text.split(',').filter(|_| !text.contains('['));
    if words.any(|word| !word.contains('=') && !is_level(word)) {
        return Err(
            "must be off, error, warn, info, debug, trace or a filter such as \
                    info,hyper=warn"
                .to_owned(),
        );
    }
    EnvFilter::builder()
        .parse(text)
        .map(|_| text.to_owned())
        .map_err(|error| format!("is no log filter: {error}"))
}

/// Lower-case letters, digits and inner hyphens, 63 at most.
pub(super) fn is_slug(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use std::path::Path;

    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("168h"), Some(DURATION_MAX));
        for bad in [
            "", "5", "s", "-5s", "5 s", "1.5s", "5S", "1m30s", "169h", "5d", "+5s",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(duration("99999999999999999999s"), None);
        assert_eq!(duration("18446744073709551615h"), None);
    }

    #[test]
    fn decimals_stay_exact() {
        assert_eq!(per_mille("1.10"), Some(1100));
        assert_eq!(per_mille("1.1"), Some(1100));
        assert_eq!(per_mille("1"), Some(1000));
        assert_eq!(per_mille("2.005"), Some(2005));
        assert_eq!(per_mille("1.10000"), Some(1100));
        assert_eq!(per_mille("0.0"), Some(0));
        for bad in [
            "", ".", "1.", ".5", "1.0005", "-1", "+1", "1e3", "1_000", "inf", "4294968",
        ] {
            assert_eq!(per_mille(bad), None, "{bad}");
        }
    }

    #[test]
    fn master_keys_are_32_bytes() {
        let padded = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        assert_eq!(decode_master_key(padded).unwrap().expose_secret(), &[1; 32]);
        assert!(decode_master_key(padded.trim_end_matches('=')).is_some());
        for bad in [
            "",
            "AQEB",
            "not base64!",
            &format!("{padded}\n"),
            &"AQEB".repeat(11),
        ] {
            assert!(decode_master_key(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn operator_keys_have_their_form() {
        let key = crate::config::testing::operator_key();
        assert!(operator_key(&key).is_ok());
        assert!(operator_key(&key.to_uppercase()).is_err());
        assert!(operator_key(&key[1..]).is_err());
        assert!(operator_key(&key[..key.len() - 1]).is_err());
        assert!(operator_key(&format!("{key}0")).is_err());
        assert!(operator_key(&format!("sk-admin_{}", "0a".repeat(28))).is_err());
        let other = PresentedKey::generate(KeyKind::Platform).unwrap();
        assert!(operator_key(other.reveal()).is_err());
    }

    #[test]
    fn base_urls_are_bare() {
        assert!(base_url("http://localhost:8081/v1").is_ok());
        for bad in [
            "",
            "localhost:80",
            "ftp://x",
            "https://u:p@x",
            "https://x?a=b",
            "https://x#f",
            "https://",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_database_is_a_file_or_a_server() {
        let file = database_url("sqlite://./a.db");
        assert!(matches!(file, Ok(DatabaseUrl::Sqlite(path)) if path == Path::new("./a.db")));
        for server in ["postgres://u:p@h/d", "postgresql://h/d?sslmode=require"] {
            assert!(matches!(database_url(server), Ok(DatabaseUrl::Postgres(_))));
        }
        for other in ["sqlite://", "postgres://", "mysql://h", "sqlite:a.db", ""] {
            assert!(database_url(other).is_err(), "{other}");
        }
    }

    #[test]
    fn outbound_entries_are_names_or_networks() {
        let shown = |text| outbound(text).map(|entry| entry.to_string());
        assert_eq!(shown("LocalHost."), Ok("localhost".to_owned()));
        assert_eq!(shown("my_model.lan"), Ok("my_model.lan".to_owned()));
        assert_eq!(shown("127.0.0.1"), Ok("127.0.0.1/32".to_owned()));
        assert_eq!(shown("::1"), Ok("::1/128".to_owned()));
        assert_eq!(shown("10.0.0.0/8"), Ok("10.0.0.0/8".to_owned()));
        assert!(
            shown("10.1.0.0/8")
                .unwrap_err()
                .ends_with("the network is 10.0.0.0/8")
        );
        for bad in [
            "",
            "127.1",
            "0x7f.1",
            "10.0.0.300",
            "10.0.0.0/33",
            "*.lan",
            "a:80",
            "a..b",
            "http://a",
        ] {
            assert!(outbound(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn log_filters_are_levels_or_directives() {
        for good in [
            "info",
            "OFF",
            "info,hyper=warn",
            "warn,assistiv_server=debug",
            "[span]=trace",
        ] {
            assert_eq!(log_filter(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "inof",
            "info,",
            "info,hyper",
            "warn, hyper=info",
            "hyper=loud",
        ] {
            assert!(log_filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn slugs_have_their_form() {
        assert!(is_slug("openai") && is_slug("my-vllm-2"));
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", &"a".repeat(64)] {
            assert!(!is_slug(bad), "{bad}");
        }
    }
}
