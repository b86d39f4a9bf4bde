//! Reads the fields of a request and collects every bad one.

use std::fmt::Display;

use serde::Deserialize;

use crate::error::FieldError;
use crate::json::Members;

/// The fields of a body, and what is wrong with them.
pub(super) struct Fields<'a> {
    members: &'a Members,
    pub(super) errors: Vec<FieldError>,
}

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(super) fn new(members: &'a Members) -> Self {
        Self {
            members,
            errors: Vec::new(),
        }
    }

    pub(super) fn members(&self) -> &'a Members {
        self.members
    }

    pub(super) fn fail(&mut self, param: impl Into<String>, message: impl Into<String>) {
        self.errors.push(FieldError {
            param: param.into(),
            message: message.into(),
        });
    }

    /// What the rule says is written only where it is broken.
    pub(super) fn field<T: Deserialize<'a>>(
        &mut self,
        name: &str,
        rule: impl Display,
    ) -> Option<T> {
        match self.members.read(name) {
            Ok(value) => value,
            Err(_) => {
                self.fail(name, rule.to_string());
                None
            }
        }
    }

    pub(super) fn required<T: Deserialize<'a>>(
        &mut self,
        name: &str,
        rule: impl Display,
    ) -> Option<T> {
        if self.members.find(name).is_none() {
            self.fail(name, "is required");
            return None;
        }
        self.field(name, rule)
    }

    pub(super) fn integer(&mut self, name: &str, min: u64, max: u64) -> Option<u64> {
        let rule = format_args!("must be an integer of at least {min}");
        let value = self.field::<u64>(name, rule)?;
        if value < min {
            self.fail(name, rule.to_string());
            return None;
        }
        if value > max {
            self.fail(name, format!("must be at most {max}"));
            return None;
        }
        Some(value)
    }

    /// Numbers, each with its range.
    pub(super) fn numbers(&mut self, ranges: &[(&str, f64, f64)]) {
        for (name, min, max) in ranges {
            let rule = format_args!("must be a number from {min} to {max}");
            if let Some(value) = self.field::<f64>(name, rule)
                && !(min..=max).contains(&&value)
            {
                self.fail(*name, rule.to_string());
            }
        }
    }
}
