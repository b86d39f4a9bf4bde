//! The rules of administrative acts, without I/O.

mod budget;
mod display;
mod entry;
mod low_balance;
mod refund;
mod rerate;
mod reset;
mod terms;
mod wallet;

pub use self::budget::decide_budget;
pub use self::low_balance::{CrossingSearch, Watch};
pub use self::refund::decide_refund;
pub use self::rerate::decide_compensation;
pub use self::reset::decide_reset;
pub use self::wallet::decide_wallet;
