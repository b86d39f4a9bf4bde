//! Skills and capabilities: modules that this server does not have. Their paths answer as switched off, so that clients
//! that look for them find out in the way the API says.

use assistiv_core::error::Reason;
use http::StatusCode;
use serde::Serialize;

use super::answer;
use super::caller::{Holder, Member, OperatorOn, OwnCaller};
use super::refusal::{Handled, Refusal};

#[derive(Serialize)]
struct Capabilities {
    enabled: bool,
    capabilities: [(); 0],
}

/// Every path below `…/skills`.
pub(super) async fn skills(_: Member) -> Handled {
    Err(off("skills"))
}

/// `GET /v1/capabilities`
pub(super) async fn capabilities(_: Holder) -> Handled {
    let none = Capabilities {
        enabled: false,
        capabilities: [],
    };
    answer::one(StatusCode::OK, none)
}

/// `GET /v1/capabilities/{slug}`
pub(super) async fn capability(_: Holder) -> Handled {
    Err(Refusal::new(
        Reason::CAPABILITY_NOT_FOUND,
        "there is no such capability; `GET /v1/capabilities` lists what there is",
    ))
}

/// `POST /v1/capabilities/search` and `/run`
pub(super) async fn run_capability(_: OwnCaller) -> Handled {
    Err(off("capabilities"))
}

/// `PUT /v1/admin/platforms/{platformId}/capability-policy`
pub(super) async fn capability_policy(_: OperatorOn) -> Handled {
    Err(off("capabilities"))
}

fn off(module: &str) -> Refusal {
    Refusal::new(
        Reason::FEATURE_DISABLED,
        format!("{module} are switched off on this server"),
    )
}
