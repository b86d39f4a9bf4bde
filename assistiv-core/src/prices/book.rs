//! All versions, to look up in.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::PriceVersion;
use crate::clock::Timestamp;
use crate::id::PriceId;
use crate::routing::{Catalogue, ProviderSlug};
use crate::store::{Listed, Page};

/// The tier that stands in for one without a price.
const STANDARD: &str = "standard";

/// Which versions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceFilter {
    /// Who is paid.
    pub provider: Option<String>,
    /// What the provider calls the model.
    pub provider_model_id: Option<String>,
    /// The tier.
    pub service_tier: Option<String>,
    /// Only those that were in force then.
    pub at: Option<Timestamp>,
}

/// Every version of every price.
#[derive(Debug)]
pub struct PriceBook {
    versions: Vec<PriceVersion>,
    by_id: HashMap<PriceId, usize>,
    /// By provider and its model, in the order in which they come into force.
    by_model: HashMap<(ProviderSlug, String), Vec<usize>>,
}

// === impl PriceBook ===

impl PriceBook {
    /// The versions of a catalogue, those that operators added included.
    pub fn of(catalogue: &Catalogue) -> Self {
        let mut versions = catalogue.price_versions();
        // Of those from the same time the one that was added last stays behind the others.
        versions.sort_by_key(|version| version.price.effective_from);
        let mut by_id = HashMap::with_capacity(versions.len());
        let mut by_model: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, version) in versions.iter().enumerate() {
            by_id.insert(version.price.id, index);
            let model = (
                version.provider.clone(),
                version.provider_model_id.to_string(),
            );
            by_model.entry(model).or_default().push(index);
        }
        Self {
            versions,
            by_id,
            by_model,
        }
    }

    /// A version by its id.
    pub fn version(&self, id: PriceId) -> Option<&PriceVersion> {
        self.by_id.get(&id).map(|index| &self.versions[*index])
    }

    /// What a call that was charged by `version` costs by the versions that are there now: that of its tier which
    /// was in force when the call began.
    pub fn in_force_for(&self, version: &PriceVersion, at: Timestamp) -> Option<&PriceVersion> {
        let tier = &version.price.service_tier;
        let of_tier = |tier: &str| {
            let model = (
                version.provider.clone(),
                version.provider_model_id.to_string(),
            );
            let of_model = self.by_model.get(&model)?.iter().rev();
            of_model
                .map(|index| &self.versions[*index])
                .find(|v| v.price.service_tier == tier && v.price.effective_from <= at)
        };
        of_tier(tier).or_else(|| of_tier(STANDARD))
    }

    /// One page of the versions that match, those that were added last first.
    pub fn list(&self, filter: &PriceFilter, page: Page) -> Listed<PriceVersion> {
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|w| w == value);
        let matches = |version: &&PriceVersion| {
            is(&filter.provider, version.provider.as_str())
                && is(&filter.provider_model_id, &version.provider_model_id)
                && is(&filter.service_tier, &version.price.service_tier)
                && filter.at.is_none_or(|at| self.was_in_force(version, at))
        };
        let mut rows: Vec<&PriceVersion> = self.versions.iter().filter(matches).collect();
        rows.sort_by_key(|version| Reverse((version.created_at, version.price.id)));
        let total = rows.len() as u64;
        let offset = usize::try_from(page.offset()).unwrap_or(usize::MAX);
        let rows = rows.into_iter().skip(offset).take(page.limit as usize);
        Listed {
            rows: rows.cloned().collect(),
            total,
        }
    }

    fn was_in_force(&self, version: &PriceVersion, at: Timestamp) -> bool {
        self.in_force_for(version, at)
            .is_some_and(|in_force| in_force.price.id == version.price.id)
    }
}
