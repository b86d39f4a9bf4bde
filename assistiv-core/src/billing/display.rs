//! The display ledger: what calls cost in the unit that a platform sells, and the rules for it.
//!
//! No I/O, no floats. An amount is a whole number of millionths of a unit.

use serde::{Deserialize, Serialize};

use super::amounts::{Legs, Overflow};
use crate::json::RawJson;
use crate::money::{DisplayUnits, NanoUsd, Tokens};

/// The unit of platforms that have not named one.
const DEFAULT_UNIT: &str = "credits";
const UNIT_LENGTH_MAX: usize = 32;
const RULES_MAX: usize = 50;
const FILTER_LENGTH_MAX: usize = 255;
const NANO_PER_USD: i128 = 1_000_000_000;

/// How a platform's display ledgers work (`settings.end_user_wallet`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndUserWallet {
    /// What the platform calls its unit: 1 to 32 characters.
    #[serde(default = "default_unit")]
    pub unit: String,
    /// The limit that a new budget gets; `None` leaves its display ledger off.
    #[serde(default)]
    pub default_max: Option<DisplayUnits>,
    /// Whether ledgers are reset with their budgets.
    #[serde(default)]
    pub reset: DisplayReset,
    /// What is charged: all rules that match, added up.
    #[serde(default)]
    pub rules: Vec<DisplayRule>,
}

/// When what is used of a display ledger becomes nothing again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DisplayReset {
    /// At the end of the budget's period.
    #[default]
    Period,
    /// Never.
    Never,
}

/// One thing that is charged. A filter that is absent matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisplayRule {
    /// What it is charged for.
    pub trigger: DisplayTrigger,
    /// How much, 0 or more.
    pub amount: DisplayUnits,
    /// The model, where a model call is charged for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The tool, of a rule for tool calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The app, of a rule for tool calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
}

/// What a rule charges for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisplayTrigger {
    /// Once for each successful model call.
    InferenceCall,
    /// Once for each tool that was executed.
    ToolCall,
    /// For each US dollar that the call was charged to the budget, markup included and rounded.
    UsdSpent,
    /// For each token.
    Tokens,
}

/// What one call is charged: all matching rules in one. The default charges nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisplayRates {
    /// Millionths of a unit once, where the call succeeds.
    per_call: i64,
    /// Millionths of a unit for each US dollar.
    per_usd: i64,
    /// Millionths of a unit for each token.
    per_token: i64,
}

// === impl EndUserWallet ===

impl Default for EndUserWallet {
    fn default() -> Self {
        Self {
            unit: default_unit(),
            default_max: None,
            reset: DisplayReset::default(),
            rules: Vec::new(),
        }
    }
}

impl EndUserWallet {
    /// Reads and checks what a platform has set.
    ///
    /// # Errors
    /// What is wrong with it, for people. A member that is not known is an error: a filter with a slip in its name
    /// would charge for everything.
    pub fn read(json: &RawJson) -> Result<Self, String> {
        // An array would be read member by member, in the order of the fields.
        if !json.get().trim_start().starts_with('{') {
            return Err("must be an object".to_owned());
        }
        let wallet: Self = json.read().map_err(|error| error.to_string())?;
        let length = wallet.unit.chars().count();
        if length == 0 || length > UNIT_LENGTH_MAX || wallet.unit.chars().any(char::is_control) {
            return Err(format!(
                "`unit` must have 1 to {UNIT_LENGTH_MAX} characters, none of them a control character"
            ));
        }
        if wallet
            .default_max
            .is_some_and(|max| max < DisplayUnits::ZERO)
        {
            return Err("`default_max` must be 0 or more, or null".to_owned());
        }
        if wallet.rules.len() > RULES_MAX {
            return Err(format!("`rules` must have at most {RULES_MAX} entries"));
        }
        for (index, rule) in wallet.rules.iter().enumerate() {
            rule.check()
                .map_err(|message| format!("`rules[{index}]` {message}"))?;
        }
        Ok(wallet)
    }

    /// What a call of a model is charged; `is_model` says whether a text names it.
    pub fn rates_of_model(&self, is_model: impl Fn(&str) -> bool) -> DisplayRates {
        self.rates(|rule| {
            rule.trigger != DisplayTrigger::ToolCall && rule.model.as_deref().is_none_or(&is_model)
        })
    }

    /// What a call of this tool of this app is charged, free or paid. `usd_spent` counts for tool calls without regard
    /// to a model, so only where the rule names none.
    pub fn rates_of_tool(&self, app: &str, tool: &str) -> DisplayRates {
        self.rates(|rule| match rule.trigger {
            DisplayTrigger::ToolCall => matches(&rule.tool, tool) && matches(&rule.app, app),
            DisplayTrigger::UsdSpent => rule.model.is_none(),
            DisplayTrigger::InferenceCall | DisplayTrigger::Tokens => false,
        })
    }

    fn rates(&self, applies: impl Fn(&DisplayRule) -> bool) -> DisplayRates {
        let mut rates = DisplayRates::default();
        for rule in self.rules.iter().filter(|rule| applies(rule)) {
            let rate = match rule.trigger {
                DisplayTrigger::InferenceCall | DisplayTrigger::ToolCall => &mut rates.per_call,
                DisplayTrigger::UsdSpent => &mut rates.per_usd,
                DisplayTrigger::Tokens => &mut rates.per_token,
            };
            // Fifty of the largest amounts are far from the end of the range.
            *rate = rate.saturating_add(rule.amount.get());
        }
        rates
    }
}

// === impl DisplayRule ===

impl DisplayRule {
    fn check(&self) -> Result<(), String> {
        if self.amount < DisplayUnits::ZERO {
            return Err("must have an `amount` of 0 or more".to_owned());
        }
        let of_tool = self.trigger == DisplayTrigger::ToolCall;
        let filters = [
            ("model", &self.model, !of_tool),
            ("tool", &self.tool, of_tool),
            ("app", &self.app, of_tool),
        ];
        for (name, filter, fits) in filters {
            match filter {
                Some(_) if !fits => return Err(format!("cannot be filtered by `{name}`")),
                Some(text) if text.is_empty() || text.chars().count() > FILTER_LENGTH_MAX => {
                    return Err(format!(
                        "must have a `{name}` of 1 to {FILTER_LENGTH_MAX} characters"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

// === impl DisplayRates ===

impl DisplayRates {
    /// Whether nothing is charged, whatever the call costs.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What a call is charged that cost the budget so much, rounded half up to a millionth once.
    ///
    /// # Errors
    /// [`Overflow`] when it does not fit; then nothing is posted.
    pub fn charge(
        &self,
        usd: NanoUsd,
        tokens: Tokens,
        is_successful: bool,
    ) -> Result<DisplayUnits, Overflow> {
        let per_call = if is_successful { self.per_call } else { 0 };
        // Calls and tokens give whole millionths; only the share of a dollar is to be rounded.
        let of_tokens = i128::from(self.per_token).checked_mul(i128::from(tokens.get()));
        let of_usd = i128::from(self.per_usd)
            .checked_mul(i128::from(usd.get()))
            .and_then(|exact| exact.checked_add(NANO_PER_USD / 2))
            .map(|exact| exact.div_euclid(NANO_PER_USD));
        let sum = of_tokens
            .zip(of_usd)
            .and_then(|(tokens, usd)| tokens.checked_add(usd)?.checked_add(per_call.into()));
        let sum = sum.and_then(|sum| i64::try_from(sum).ok());
        sum.map(DisplayUnits::new).ok_or(Overflow)
    }

    /// The legs of a call with its display leg.
    ///
    /// # Errors
    /// [`Overflow`] when that does not fit.
    pub fn on(&self, mut legs: Legs, is_successful: bool) -> Result<Legs, Overflow> {
        legs.budget.display = self.charge(legs.budget.usd, legs.budget.tokens, is_successful)?;
        Ok(legs)
    }
}

fn default_unit() -> String {
    DEFAULT_UNIT.to_owned()
}

fn matches(filter: &Option<String>, name: &str) -> bool {
    filter.as_deref().is_none_or(|wanted| wanted == name)
}

#[cfg(test)]
mod tests {
    use bigdecimal::num_bigint::BigInt;
    use bigdecimal::{BigDecimal, RoundingMode};
    use proptest::prelude::*;

    use super::*;

    fn wallet(json: &str) -> Result<EndUserWallet, String> {
        EndUserWallet::read(&serde_json::from_str(json).unwrap())
    }

    fn rates(json: &str) -> DisplayRates {
        wallet(json).unwrap().rates_of_model(|name| name == "gpt-5")
    }

    fn units(text: &str) -> DisplayUnits {
        text.parse().unwrap()
    }

    /// The example of the specification: one unit a call, 1000 a dollar, a thousandth a token.
    #[test]
    fn rules_that_match_add_up() {
        let wallet = wallet(
            r#"{ "unit": "credits", "default_max": 100, "reset": "period", "rules": [
                { "trigger": "inference_call", "amount": 1 },
                { "trigger": "inference_call", "amount": 2, "model": "gpt-5" },
                { "trigger": "tool_call", "tool": "github_create_issue", "amount": 5 },
                { "trigger": "tool_call", "app": "github", "amount": "0.5" },
                { "trigger": "usd_spent", "amount": 1000 },
                { "trigger": "tokens", "amount": 0.001 } ] }"#,
        )
        .unwrap();
        let (usd, tokens) = (NanoUsd::new(10_695_375), Tokens::new(1801));
        let charge = |rates: DisplayRates, done| rates.charge(usd, tokens, done).unwrap();
        let gpt = wallet.rates_of_model(|name| name == "gpt-5");
        assert_eq!(charge(gpt, true), units("15.496375"));
        assert_eq!(charge(gpt, false), units("12.496375"));
        assert_eq!(
            charge(wallet.rates_of_model(|_| false), true),
            units("13.496375")
        );
        let tool = |app, tool| {
            let rates = wallet.rates_of_tool(app, tool);
            rates.charge(NanoUsd::new(1_000_000), Tokens::ZERO, true)
        };
        assert_eq!(tool("github", "github_create_issue"), Ok(units("6.5")));
        assert_eq!(tool("github", "github_list"), Ok(units("1.5")));
        assert_eq!(tool("slack", "slack_post"), Ok(units("1")));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let rule = |rule: &str| format!(r#"{{ "rules": [{rule}] }}"#);
        let many = vec![r#"{"trigger":"tokens","amount":1}"#; 51].join(",");
        for json in [
            r#"{ "unit": "" }"#.to_owned(),
            format!(r#"{{ "unit": "{}" }}"#, "x".repeat(33)),
            r#"{ "unit": "a\nb" }"#.to_owned(),
            r#"{ "default_max": -1 }"#.to_owned(),
            r#"{ "default_max": 0.0000001 }"#.to_owned(),
            r#"{ "reset": "daily" }"#.to_owned(),
            r#"{ "rule": [] }"#.to_owned(),
            "[]".to_owned(),
            rule(r#"{ "trigger": "inference_call" }"#),
            rule(r#"{ "trigger": "inference", "amount": 1 }"#),
            rule(r#"{ "trigger": "inference_call", "amount": -1 }"#),
            rule(r#"{ "trigger": "inference_call", "amount": 1, "modell": "x" }"#),
            rule(r#"{ "trigger": "inference_call", "amount": 1, "tool": "x" }"#),
            rule(r#"{ "trigger": "tool_call", "amount": 1, "model": "x" }"#),
            rule(r#"{ "trigger": "tool_call", "amount": 1, "app": "" }"#),
            rule(r#"{ "trigger": "tokens", "amount": 1000000000 }"#),
            rule(&many),
        ] {
            assert!(wallet(&json).is_err(), "{json}");
        }
        assert_eq!(wallet("{}").unwrap(), EndUserWallet::default());
    }

    #[test]
    fn rules_are_written_as_they_are_read() {
        let text = r#"{"trigger":"usd_spent","amount":0.5,"model":"gpt-5"}"#;
        let rule: DisplayRule = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&rule).unwrap(), text);
    }

    #[test]
    fn overflow_is_an_error() {
        let rates = rates(r#"{ "rules": [{ "trigger": "tokens", "amount": 999999999 }] }"#);
        assert_eq!(
            rates.charge(NanoUsd::ZERO, Tokens::MAX_INPUT, true),
            Err(Overflow)
        );
    }

    proptest! {
        #[test]
        fn agrees_with_rational_arithmetic(
            amounts in prop::collection::vec((0usize..3, 0i64..1_000_000_000_000), 0..50),
            usd in 0i64..=1_000_000_000_000, tokens in 0i64..=100_000_000, done: bool,
        ) {
            let triggers = [DisplayTrigger::InferenceCall, DisplayTrigger::UsdSpent, DisplayTrigger::Tokens];
            let rule = |(trigger, amount): &(usize, i64)| DisplayRule {
                trigger: triggers[*trigger],
                amount: DisplayUnits::new(*amount),
                model: None,
                tool: None,
                app: None,
            };
            let wallet = EndUserWallet { rules: amounts.iter().map(rule).collect(), ..EndUserWallet::default() };
            let mut exact = BigDecimal::from(0);
            for rule in &wallet.rules {
                let amount = BigDecimal::new(BigInt::from(rule.amount.get()), 6);
                exact += match rule.trigger {
                    DisplayTrigger::UsdSpent => amount * NanoUsd::new(usd).to_decimal(),
                    DisplayTrigger::Tokens => amount * BigDecimal::from(tokens),
                    _ if done => amount,
                    _ => BigDecimal::from(0),
                };
            }
            let rounded = exact.with_scale_round(6, RoundingMode::HalfUp);
            let charged = wallet.rates_of_model(|_| true).charge(NanoUsd::new(usd), Tokens::new(tokens), done);
            match charged {
                Ok(charged) => prop_assert_eq!(BigDecimal::new(BigInt::from(charged.get()), 6), rounded),
                Err(Overflow) => prop_assert!(rounded > BigDecimal::new(BigInt::from(i64::MAX), 6)),
            }
        }
    }
}
