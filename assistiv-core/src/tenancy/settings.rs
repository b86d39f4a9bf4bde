//! What a platform may choose (`docs/api-design.md`).

use std::sync::Arc;

use serde::Deserialize;

use crate::billing::{DisplayReset, EndUserWallet};
use crate::error::FieldError;
use crate::json::{RawJson, RawObject};
use crate::money::{DisplayUnits, Markup, NanoUsd, Tokens};

const END_USER_WALLET: &str = "end_user_wallet";
const RESPONSE_RETENTION_DAYS: u32 = 30;
const RESPONSE_RETENTION_DAYS_MAX: u32 = 3_650;

/// A platform's settings, as the object that the platform wrote.
///
/// Keys that this version does not know are kept and returned untouched, so that a dashboard may keep its own
/// data there. Known keys are validated when written; the readers below never fail.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlatformSettings {
    object: RawObject,
    /// Read once: every call of an end user asks for it.
    end_user_wallet: Option<Arc<EndUserWallet>>,
}

/// What an end user sees of its budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BudgetView {
    /// The display ledger when it is on, else USD when the budget has a USD limit, else tokens.
    #[default]
    Auto,
    /// USD and tokens.
    Usd,
    /// Tokens alone.
    Tokens,
    /// The display ledger.
    Display,
}

/// What becomes of a parameter that a model does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnsupportedParams {
    /// It is left out, and the answer names it.
    #[default]
    Drop,
    /// The call is refused.
    Error,
}

// === impl PlatformSettings ===

impl PlatformSettings {
    /// Validates a settings object.
    ///
    /// # Errors
    /// Every bad key at once.
    pub fn new(object: RawObject) -> Result<Self, Vec<FieldError>> {
        let errors: Vec<_> = object
            .iter()
            .filter_map(|(key, value)| check(key, value))
            .collect();
        if errors.is_empty() {
            Ok(Self::from_stored(object))
        } else {
            Err(errors)
        }
    }

    /// Wraps an object that was validated when it was written.
    pub fn from_stored(object: RawObject) -> Self {
        let wallet = object.get(END_USER_WALLET).filter(|json| !json.is_null());
        Self {
            end_user_wallet: wallet
                .and_then(|json| EndUserWallet::read(json).ok())
                .map(Arc::new),
            object,
        }
    }

    /// These settings with `changes` laid over them: a key set to null goes away, others are replaced whole.
    ///
    /// # Errors
    /// Every bad key at once.
    pub fn merged(&self, changes: RawObject) -> Result<Self, Vec<FieldError>> {
        let mut object = self.object.clone();
        for (key, value) in changes {
            if value.is_null() {
                object.remove(&key);
            } else {
                object.insert(key, value);
            }
        }
        Self::new(object)
    }

    /// The object, for storing and showing.
    pub fn as_object(&self) -> &RawObject {
        &self.object
    }

    /// The USD limit of the monthly budget that a new end user gets.
    pub fn default_budget_usd(&self) -> Option<NanoUsd> {
        self.read("default_budget_usd")
    }

    /// The token limit of that budget.
    pub fn default_budget_tokens(&self) -> Option<Tokens> {
        self.read("default_budget_tokens")
    }

    /// What end users' budgets are charged over the provider cost.
    pub fn markup(&self) -> Markup {
        self.read("markup_percentage").unwrap_or_default()
    }

    /// Whether an end user without an active budget is refused.
    pub fn require_budget(&self) -> bool {
        self.read("require_budget").unwrap_or(false)
    }

    /// What `/v1/me/budget` shows.
    pub fn end_user_budget_view(&self) -> BudgetView {
        self.read("end_user_budget_view").unwrap_or_default()
    }

    /// What becomes of a parameter that a model does not take.
    pub fn unsupported_params(&self) -> UnsupportedParams {
        self.read("unsupported_params").unwrap_or_default()
    }

    /// For how many days responses may be fetched and continued.
    pub fn response_retention_days(&self) -> u32 {
        let days = self.read("response_retention_days");
        days.unwrap_or(RESPONSE_RETENTION_DAYS)
    }

    /// Unit and rules of display ledgers, where the platform has set any.
    pub fn end_user_wallet(&self) -> Option<&Arc<EndUserWallet>> {
        self.end_user_wallet.as_ref()
    }

    /// The limit that the display ledger of a new budget gets; `None` leaves it off.
    pub fn default_max_display(&self) -> Option<DisplayUnits> {
        self.end_user_wallet.as_ref()?.default_max
    }

    /// Whether display ledgers are reset with their budgets.
    pub fn display_reset(&self) -> DisplayReset {
        let wallet = self.end_user_wallet.as_ref();
        wallet.map_or_else(DisplayReset::default, |wallet| wallet.reset)
    }

    fn read<'a, T: Deserialize<'a>>(&'a self, key: &str) -> Option<T> {
        self.object.get(key)?.read::<Option<T>>().ok().flatten()
    }
}

fn check(key: &str, value: &RawJson) -> Option<FieldError> {
    if key == END_USER_WALLET {
        let wallet = (!value.is_null()).then(|| EndUserWallet::read(value));
        let message = wallet.and_then(Result::err)?;
        let param = format!("settings.{key}");
        return Some(FieldError { param, message });
    }
    let (valid, message) = match key {
        "default_budget_usd" => (
            value
                .read::<Option<NanoUsd>>()
                .is_ok_and(|v| v.is_none_or(NanoUsd::is_positive)),
            "must be an amount above 0, or null",
        ),
        "default_budget_tokens" => (
            value
                .read::<Option<Tokens>>()
                .is_ok_and(|v| v.is_none_or(Tokens::is_positive)),
            "must be an integer above 0, or null",
        ),
        "markup_percentage" => (
            value.read::<Markup>().is_ok(),
            "must be a number from 0 to 1000 with at most 4 fractional digits",
        ),
        "end_user_budget_view" => (
            value.read::<BudgetView>().is_ok(),
            "must be `auto`, `usd`, `tokens` or `display`",
        ),
        "unsupported_params" => (
            value.read::<UnsupportedParams>().is_ok(),
            "must be `drop` or `error`",
        ),
        "response_retention_days" => (
            value
                .read::<u32>()
                .is_ok_and(|days| (1..=RESPONSE_RETENTION_DAYS_MAX).contains(&days)),
            "must be an integer from 1 to 3650",
        ),
        "require_budget" | "log_content" => (value.read::<bool>().is_ok(), "must be true or false"),
        _ => (true, ""),
    };
    (!valid).then(|| FieldError {
        param: format!("settings.{key}"),
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> RawObject {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn known_keys_are_checked_all_at_once_and_unknown_ones_kept() {
        let errors = PlatformSettings::new(object(
            r#"{"markup_percentage": 1000.5, "require_budget": "yes", "unsupported_params": "x", "colour": 1}"#,
        ))
        .unwrap_err();
        assert_eq!(errors.len(), 3);
        let settings =
            PlatformSettings::new(object(
            r#"{"markup_percentage": 12.5, "default_budget_usd": 999999999.999999999, "colour": 1}"#,
        ))
        .unwrap();
        assert_eq!(settings.markup(), Markup::new(125_000));
        assert_eq!(settings.default_budget_usd(), Some(NanoUsd::MAX_INPUT));
        let merged = settings
            .merged(object(r#"{"colour": null, "x": [1]}"#))
            .unwrap();
        assert!(!merged.as_object().contains_key("colour"));
        assert_eq!(merged.markup(), Markup::new(125_000));
    }

    #[test]
    fn display_ledgers_are_checked_and_read() {
        let errors =
            PlatformSettings::new(object(r#"{"end_user_wallet": {"unit": "", "rules": []}}"#))
                .unwrap_err();
        assert_eq!(errors[0].param, "settings.end_user_wallet");
        let text =
            r#"{"end_user_wallet": {"unit": "pages", "default_max": 7.5, "reset": "never"}}"#;
        let settings = PlatformSettings::new(object(text)).unwrap();
        assert_eq!(settings, PlatformSettings::from_stored(object(text)));
        assert_eq!(settings.end_user_wallet().unwrap().unit, "pages");
        let max = settings.default_max_display();
        assert_eq!(max, Some(DisplayUnits::new(7_500_000)));
        assert_eq!(settings.display_reset(), DisplayReset::Never);
        let off = settings
            .merged(object(r#"{"end_user_wallet": null}"#))
            .unwrap();
        assert!(off.end_user_wallet().is_none());
        assert!(PlatformSettings::new(object(r#"{"end_user_wallet": null}"#)).is_ok());
    }
}
