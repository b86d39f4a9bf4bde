//! Settings that are one word out of a few.

use std::fmt;

/// A setting with a fixed set of words.
pub(super) trait Choice: Copy + 'static {
    /// Every word with its value.
    const ALL: &'static [(&'static str, Self)];
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl Choice for $name {
            const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $word,)+
                })
            }
        }
    };
}

choice! {
    /// What has to be durable before content is delivered.
    DeliveryGate {
        /// The first byte of a stream waits for its open record, the end of it for its settlement.
        #[default]
        Strict = "strict",
        /// Content waits for nothing; a crash loses what was not written yet.
        Relaxed = "relaxed",
    }
}

choice! {
    /// What a caller pays who left after the provider accepted and before any content was sent.
    BeforeFirstByte {
        /// The prompt is charged.
        #[default]
        ChargeInput = "charge_input",
        /// Nothing is charged.
        Free = "free",
    }
}

choice! {
    /// What an answer costs whose provider failed mid-stream.
    MidstreamError {
        /// What was delivered is charged.
        #[default]
        ChargeObserved = "charge_observed",
        /// Nothing is charged.
        Free = "free",
    }
}

choice! {
    /// What happens to a request whose hold exceeds a balance above zero.
    LastRequest {
        /// It holds everything that is left and runs.
        #[default]
        Allow = "allow",
        /// It is refused.
        Refuse = "refuse",
    }
}

choice! {
    /// What delivery does when the database stays away longer than it waits.
    GateTimeoutAction {
        /// The answer ends with an error; one in one piece is not charged.
        #[default]
        FailClosed = "fail_closed",
        /// The answer goes out; its charge is written when the database is back.
        Release = "release",
    }
}

choice! {
    /// Whether calls are accepted while the database is away.
    OutagePolicy {
        /// They are refused.
        #[default]
        FailClosed = "fail_closed",
        /// They run on what was leased, until the node's time runs out.
        Grace = "grace",
    }
}

choice! {
    /// What happens to a stream that has used up what it may cost.
    OnExhausted {
        /// It ends with an error.
        #[default]
        Cut = "cut",
        /// It runs to its end.
        Finish = "finish",
    }
}

choice! {
    /// What happens to the streams of an end user who is suspended.
    SuspendInflight {
        /// They run to their end.
        #[default]
        Finish = "finish",
        /// They end with an error.
        Cut = "cut",
    }
}

choice! {
    /// What happens to charges of a node that died whose delivery cannot be proved.
    UnconfirmedDelivery {
        /// They stand until an operator resolves them.
        #[default]
        Stands = "stands",
        /// They are refunded.
        Refund = "refund",
    }
}

choice! {
    /// Who may top up a wallet.
    WalletTopup {
        /// Platform keys may.
        #[default]
        Platform = "platform",
        /// Only the operator may.
        Operator = "operator",
    }
}

choice! {
    /// How log lines are written.
    LogFormat {
        /// Pretty on a terminal, JSON otherwise.
        #[default]
        Auto = "auto",
        /// For people.
        Pretty = "pretty",
        /// One JSON object per line.
        Json = "json",
    }
}
