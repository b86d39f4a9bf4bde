//! What every answer may hold.

use super::{Schema, schema};

pub(super) const ALL: &[Schema] = &[
    schema(
        "Error",
        "Why a request was refused or failed. Programs branch on `reason`.",
        "
        code string = payment_required -- follows from the status
        reason string = wallet_insufficient -- stable; all are listed at /docs/errors
        message string = the platform wallet cannot pay for this call -- for people
        type string = insufficient_quota
        param string?
        details object
        request_id string = req_0197a3c51c7e7d209c413f5b8a6e2d10
        doc_url string = https://gateway.example/docs/errors#wallet_insufficient",
    ),
    schema(
        "Refusal",
        "What every refusal is, by whatever status.",
        "
        error Error",
    ),
    schema(
        "MessagesError",
        "The same in Anthropic's shape, on the paths of messages.",
        "
        type string = error
        error object
        request_id string = req_0197a3c51c7e7d209c413f5b8a6e2d10",
    ),
];
