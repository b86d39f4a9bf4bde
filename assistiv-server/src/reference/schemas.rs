//! The objects of the API, in the language of [`fields`](super::fields).

mod calls;
mod common;
mod money;
mod operator;
mod tenancy;
mod traffic;

/// An object of the API.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) fields: &'static str,
}

const fn schema(name: &'static str, text: &'static str, fields: &'static str) -> Schema {
    Schema { name, text, fields }
}

/// All objects, in the order in which they are shown.
pub(super) fn all() -> impl Iterator<Item = &'static Schema> {
    let groups = [
        calls::ALL,
        tenancy::ALL,
        money::ALL,
        traffic::ALL,
        operator::ALL,
        common::ALL,
    ];
    groups.into_iter().flatten()
}

/// The object of a name.
pub(super) fn find(name: &str) -> Option<&'static Schema> {
    all().find(|schema| schema.name == name)
}
