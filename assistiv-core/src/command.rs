//! Management commands as values.
//!
//! A command says what is wanted and under which authority it runs. The blanket service finds out whether the
//! principal has that authority, traces the command, and runs it; so an embedder gets the same checks as a
//! caller over HTTP.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::Service;
use tracing::Instrument;

use crate::audit::with_origin;
use crate::auth::{AuthError, EndUserScope, OperatorScope, PlatformScope, Principal};
use crate::billing::ActRefusal;
use crate::error::{FieldError, Reason};
use crate::id::PlatformId;
use crate::store::StoreError;

/// Something that can be done in a domain `D`.
pub trait Command<D>: Send + 'static {
    /// A stable name for logs and metrics: verb and object, `create_budget`.
    const NAME: &'static str;
    /// The authority it runs under.
    type Authority: Authority;
    /// What it gives back.
    type Output: Send + 'static;

    /// Does it. The principal's authority has been established.
    fn run(
        self,
        domain: &D,
        authority: Self::Authority,
    ) -> impl Future<Output = Result<Self::Output, CommandError>> + Send;
}

/// A scope that a principal may or may not have.
pub trait Authority: Send + Sized + 'static {
    /// Whether the authority is over one platform, which the caller must name.
    type Over: Send + Sync + 'static;

    /// Establishes the authority, before any look-up.
    ///
    /// # Errors
    /// Why the principal does not have it.
    fn of(principal: &Principal, over: &Self::Over) -> Result<Self, AuthError>;
}

/// A command together with who wants it done, and over what.
pub struct As<C, O> {
    /// Who.
    pub principal: Principal,
    /// The platform, for commands on one; `()` otherwise.
    pub over: O,
    /// What.
    pub command: C,
}

/// Runs the commands of a domain.
pub struct Commands<D>(Arc<D>);

/// Why a command was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A rule of the domain stands against it.
    #[error("{message}")]
    Refused {
        /// The stable reason.
        reason: Reason,
        /// For people: what stands against it, and the way out.
        message: String,
    },
    /// Fields are not valid; all at once.
    #[error("{} fields are not valid", .0.len())]
    Fields(Vec<FieldError>),
    /// An act on a wallet or budget is refused.
    #[error(transparent)]
    Act(#[from] ActRefusal),
    /// The principal lacks the authority.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that cannot be the caller's fault.
    #[error("an internal error occurred")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

// === impl Authority ===

impl Authority for PlatformScope {
    type Over = PlatformId;
    fn of(principal: &Principal, over: &PlatformId) -> Result<Self, AuthError> {
        principal.manage(*over)
    }
}

impl Authority for OperatorScope {
    type Over = ();
    fn of(principal: &Principal, (): &()) -> Result<Self, AuthError> {
        principal.operate()
    }
}

impl Authority for EndUserScope {
    type Over = ();
    fn of(principal: &Principal, (): &()) -> Result<Self, AuthError> {
        principal.own()
    }
}

/// The principal itself: for commands that every authenticated key may give, each seeing its own.
impl Authority for Principal {
    type Over = ();
    fn of(principal: &Principal, (): &()) -> Result<Self, AuthError> {
        Ok(principal.clone())
    }
}

// === impl Commands ===

impl<D> Commands<D> {
    pub(crate) fn new(domain: D) -> Self {
        Self(Arc::new(domain))
    }

    /// Runs a command; the same as calling the service.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn run<C: Command<D>>(
        &self,
        principal: &Principal,
        over: <C::Authority as Authority>::Over,
        command: C,
    ) -> Result<C::Output, CommandError> {
        let span = tracing::info_span!("command", name = C::NAME);
        async {
            let authority = C::Authority::of(principal, &over)?;
            with_origin(principal.origin(), command.run(&self.0, authority)).await
        }
        .instrument(span)
        .await
    }
}

impl<D> Clone for Commands<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D, C> Service<As<C, <C::Authority as Authority>::Over>> for Commands<D>
where
    D: Send + Sync + 'static,
    C: Command<D>,
{
    type Response = C::Output;
    type Error = CommandError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Output, CommandError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CommandError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: As<C, <C::Authority as Authority>::Over>) -> Self::Future {
        let commands = self.clone();
        Box::pin(async move {
            commands
                .run(&request.principal, request.over, request.command)
                .await
        })
    }
}

// === impl CommandError ===

impl CommandError {
    /// A refusal with a reason and a message for people.
    pub fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self::Refused {
            reason,
            message: message.into(),
        }
    }

    /// Maps "no such object" of the store to the reason of the object.
    pub(crate) fn or_not_found(error: StoreError, reason: Reason, what: &str) -> Self {
        match error {
            StoreError::NotFound => {
                Self::refused(reason, format!("there is no such {what} on this platform"))
            }
            other => Self::Store(other),
        }
    }
}

/// Checks a text that people chose: 1 to `max` characters, none of them a control character.
pub(crate) fn check_text(param: &str, text: &str, max: usize) -> Option<FieldError> {
    let length = text.chars().count();
    let message = if length == 0 || length > max {
        format!("must have 1 to {max} characters")
    } else if text.chars().any(char::is_control) {
        "must not contain control characters".to_owned()
    } else {
        return None;
    };
    Some(FieldError {
        param: param.to_owned(),
        message,
    })
}

/// Fails with all errors that were found, if any.
pub(crate) fn all_valid(errors: impl IntoIterator<Item = FieldError>) -> Result<(), CommandError> {
    let errors: Vec<_> = errors.into_iter().collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(CommandError::Fields(errors))
    }
}
