//! What a call is charged (`docs/ledger.md`).

use std::sync::Arc;

use super::amounts::{Amounts, Legs, Overflow};
use super::display::DisplayRates;
use super::ledger::ChargeFlags;
use super::options::{BeforeFirstByte, BillingOptions, MidstreamError};
use super::price::{Price, Usage};
use crate::call::tokens_of_bytes;
use crate::money::Markup;
use crate::provider::Output;
use crate::routing::Target;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The whole answer was received.
    Complete,
    /// The caller left.
    ClientGone,
    /// The provider failed after content was sent.
    ProviderFailed,
    /// Wallet or budget were used up in the middle.
    FundsExhausted,
    /// The gateway shut down in the middle.
    ShutDown,
}

/// Where the token counts of a charge come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountMethod {
    /// The provider reported them.
    Reported,
    /// The gateway counted.
    Estimated,
}

// === impl CountMethod ===

impl CountMethod {
    /// The word in headers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
        }
    }
}

/// What has been seen of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    target: Option<Target>,
    prompt_tokens: u64,
    markup: Markup,
    display: DisplayRates,
    reported: Option<Usage>,
    /// The input alone, where the provider has said what it is and not yet what it gave for it.
    reported_input: Option<Usage>,
    tier: Option<String>,
    content_bytes: u64,
}

/// A charge as it will stand in the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Bill {
    pub(crate) usage: Usage,
    pub(crate) legs: Legs,
    pub(crate) flags: ChargeFlags,
    pub(crate) method: CountMethod,
    pub(crate) price: Arc<Price>,
}

// === impl Meter ===

impl Meter {
    pub(crate) fn new(prompt_tokens: u64, markup: Markup, display: DisplayRates) -> Self {
        Self {
            target: None,
            prompt_tokens,
            markup,
            display,
            reported: None,
            reported_input: None,
            tier: None,
            content_bytes: 0,
        }
    }

    /// A new attempt begins: what an earlier one showed does not count.
    pub(crate) fn begin(&mut self, target: &Target) {
        *self = Self {
            target: Some(target.clone()),
            ..Self::new(self.prompt_tokens, self.markup, self.display)
        };
    }

    pub(crate) fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// Takes over what a decoder has found out. Says whether anything is new.
    pub(crate) fn observe(&mut self, output: &Output) -> bool {
        let grew = output.content_bytes() != self.content_bytes
            || output.usage() != self.reported.as_ref()
            || output.input() != self.reported_input.as_ref();
        self.content_bytes = output.content_bytes();
        self.reported = output.usage().copied();
        self.reported_input = output.input().copied();
        if self.tier.as_deref() != output.service_tier() {
            self.tier = output.service_tier().map(str::to_owned);
        }
        grew
    }

    /// What the answer has cost so far; at least the prompt. Nothing yet of what a successful call is charged once.
    pub(crate) fn accrued(&self) -> Legs {
        let (usage, _) = self.observed();
        let Some(price) = self.price() else {
            return Legs::ZERO;
        };
        self.cost(price, &usage, false).unwrap_or(Legs::ZERO)
    }

    /// The charge for an answer that ended like this.
    pub(crate) fn bill(
        &self,
        ending: Ending,
        held: &Legs,
        options: &BillingOptions,
    ) -> Option<Bill> {
        let price = self.price()?.clone();
        let (usage, method) = match ending {
            Ending::Complete | Ending::FundsExhausted | Ending::ShutDown => self.observed(),
            Ending::ProviderFailed => match options.midstream_error {
                MidstreamError::ChargeObserved => self.observed(),
                MidstreamError::Free => (Usage::default(), CountMethod::Estimated),
            },
            Ending::ClientGone if self.content_bytes > 0 => self.observed(),
            Ending::ClientGone => match options.before_first_byte {
                BeforeFirstByte::ChargeInput => self.prompt_alone(),
                BeforeFirstByte::Free => (Usage::default(), CountMethod::Estimated),
            },
        };
        // A report so absurd that its cost has no number counts as none.
        let is_successful = self.is_successful(ending);
        let (usage, method, legs) = match self.cost(&price, &usage, is_successful) {
            Ok(legs) => (usage, method, legs),
            Err(_) => {
                let counted = self.counted();
                (
                    counted,
                    CountMethod::Estimated,
                    self.cost(&price, &counted, is_successful).unwrap_or(*held),
                )
            }
        };
        let mut flags = ChargeFlags::default();
        if method == CountMethod::Estimated {
            flags = flags.with(ChargeFlags::ESTIMATED);
        }
        if ending != Ending::Complete {
            flags = flags.with(ChargeFlags::TRUNCATED);
        }
        if overran(&legs, held) {
            flags = flags.with(ChargeFlags::OVERRAN);
        }
        Some(Bill {
            usage,
            legs,
            flags,
            method,
            price,
        })
    }

    fn cost(&self, price: &Price, usage: &Usage, is_successful: bool) -> Result<Legs, Overflow> {
        let legs = price.cost(usage, self.markup)?;
        self.display.on(legs, is_successful)
    }

    /// Whether the answer counts as a call on the display ledger: all of it was there, or its caller has seen some of
    /// it and could not or would not have the rest.
    fn is_successful(&self, ending: Ending) -> bool {
        match ending {
            Ending::Complete => true,
            Ending::ClientGone | Ending::FundsExhausted => self.content_bytes > 0,
            Ending::ProviderFailed | Ending::ShutDown => false,
        }
    }

    fn price(&self) -> Option<&Arc<Price>> {
        self.target
            .as_ref()
            .map(|target| target.price(self.tier.as_deref()))
    }

    /// Reported usage where there is some, an explicit zero included; else what was counted.
    fn observed(&self) -> (Usage, CountMethod) {
        match self.reported {
            Some(usage) => (usage, CountMethod::Reported),
            None => (self.counted(), CountMethod::Estimated),
        }
    }

    /// The output as counted, for an input that was reported if the provider got that far.
    fn counted(&self) -> Usage {
        Usage {
            output: tokens_of_bytes(self.content_bytes),
            ..self.reported_input.map_or(self.prompt(), input_of)
        }
    }

    fn prompt_alone(&self) -> (Usage, CountMethod) {
        match self.reported.or(self.reported_input) {
            Some(usage) => (input_of(usage), CountMethod::Reported),
            None => (self.prompt(), CountMethod::Estimated),
        }
    }

    /// The input as counted before the call.
    fn prompt(&self) -> Usage {
        Usage {
            input: self.prompt_tokens,
            ..Usage::default()
        }
    }
}

/// Usage without what was given for it.
fn input_of(usage: Usage) -> Usage {
    Usage {
        output: 0,
        reasoning: 0,
        audio_output: 0,
        image_output: 0,
        ..usage
    }
}

fn overran(cost: &Legs, held: &Legs) -> bool {
    let over = |cost: Amounts, held: Amounts| {
        super::amounts::Dimension::ALL
            .into_iter()
            .any(|d| held.get(d) > 0 && cost.get(d) > held.get(d))
    };
    cost.wallet > held.wallet || over(cost.budget, held.budget)
}
