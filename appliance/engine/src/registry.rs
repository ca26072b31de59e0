//! All models of a process, each loading, serving, draining or failed.
//!
//! Reading is one lock and one count; whoever holds a service keeps it until its requests are told.
//! How a model is opened is the caller's: it hands in the closure. Next: `service.rs`.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::{Drained, Service};

/// Names and models, in the order in which they came.
#[derive(Debug, Default)]
pub struct Models(RwLock<Vec<Entry>>);

/// One model.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name clients use.
    pub name: Arc<str>,
    /// What it does.
    pub state: ModelState,
}

/// What a model does.
#[derive(Clone, Debug)]
pub enum ModelState {
    /// It is being opened.
    Loading {
        /// How far it is: `plan`, `open`, `warm`.
        phase: String,
    },
    /// It serves.
    Serving(Arc<Service>),
    /// It lets its requests end and takes no new ones.
    Draining(Arc<Service>),
    /// It could not be opened.
    Failed {
        /// In words.
        why: String,
    },
}

impl Entry {
    /// The service, where there is one.
    #[must_use]
    pub fn service(&self) -> Option<&Arc<Service>> {
        match &self.state {
            ModelState::Serving(service) | ModelState::Draining(service) => Some(service),
            ModelState::Loading { .. } | ModelState::Failed { .. } => None,
        }
    }
}

/// Why a model cannot be loaded or unloaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelsError {
    /// There is one of that name.
    #[error(
        "there is a model {name:?} already, and it {state}; unload it first or take another name"
    )]
    Taken {
        /// The name.
        name: String,
        /// What the other one does.
        state: &'static str,
    },
    /// There is none of that name.
    #[error("there is no model {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// It does not serve, so it cannot be unloaded.
    #[error("model {name:?} {state}; it can be unloaded when it serves")]
    Busy {
        /// The name.
        name: String,
        /// What it does.
        state: &'static str,
    },
}

/// A name that is taken for a model on its way; dropped without an end, the model has failed.
#[derive(Debug)]
pub struct Loading {
    models: Arc<Models>,
    name: Arc<str>,
    is_over: bool,
}

impl Models {
    /// Takes a name for a model that is about to be opened; that of one that failed may be taken.
    ///
    /// # Errors
    /// There is one of that name.
    pub fn begin(self: &Arc<Self>, name: &str) -> Result<Loading, ModelsError> {
        let state = ModelState::Loading { phase: "plan".to_owned() };
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let entry = Entry { name: name.into(), state };
        match entries.iter_mut().find(|entry| &*entry.name == name) {
            None => entries.push(entry),
            Some(old) if matches!(old.state, ModelState::Failed { .. }) => *old = entry,
            Some(old) => {
                let (name, state) = (name.to_owned(), word(&old.state));
                return Err(ModelsError::Taken { name, state });
            }
        }
        drop(entries);
        Ok(Loading { models: Arc::clone(self), name: name.into(), is_over: false })
    }

    /// All of them, in the order in which they came.
    #[must_use]
    pub fn list(&self) -> Vec<Entry> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those that can be asked.
    #[must_use]
    pub fn services(&self) -> Vec<Arc<Service>> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter_map(|entry| entry.service().cloned()).collect()
    }

    /// Lets a model's requests end and forgets it. Its memory is given back when its last lane ends,
    /// which is before this returns unless a step hangs in a device.
    ///
    /// # Errors
    /// There is no such model, or it does not serve.
    pub async fn unload(&self, name: &str, budget: Duration) -> Result<Drained, ModelsError> {
        let service = self.drain_one(name)?;
        let drained = service.drain(budget).await;
        info!(model = name, requests = drained.requests, cut = drained.cut, "model unloaded");
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry.service().is_none_or(|of| !Arc::ptr_eq(of, &service)));
        Ok(drained)
    }

    fn drain_one(&self, name: &str) -> Result<Arc<Service>, ModelsError> {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let named = || name.to_owned();
        let Some(entry) = entries.iter_mut().find(|entry| &*entry.name == name) else {
            return Err(ModelsError::Unknown { name: named() });
        };
        let ModelState::Serving(service) = &entry.state else {
            return Err(ModelsError::Busy { name: named(), state: word(&entry.state) });
        };
        let service = Arc::clone(service);
        entry.state = ModelState::Draining(Arc::clone(&service));
        service.close();
        Ok(service)
    }

    /// Drains every model at once, each for at most `budget`. They stay in the list.
    pub async fn drain_all(&self, budget: Duration) -> Drained {
        let mut drains = JoinSet::new();
        for service in self.services() {
            service.close();
            drains.spawn(async move { service.drain(budget).await });
        }
        let mut all = Drained { requests: 0, cut: 0 };
        while let Some(drained) = drains.join_next().await {
            match drained {
                Ok(Drained { requests, cut }) => {
                    all.requests += requests;
                    all.cut += cut;
                }
                Err(error) => warn!(%error, "a model could not be drained"),
            }
        }
        all
    }

    fn set(&self, name: &str, state: ModelState) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.iter_mut().find(|entry| &*entry.name == name) {
            entry.state = state;
        }
    }
}

impl Loading {
    /// Says how far it is.
    pub fn phase(&self, phase: &str) {
        self.models.set(&self.name, ModelState::Loading { phase: phase.to_owned() });
    }

    /// It is warm: from now on it serves, beside those that do already.
    pub fn serve(mut self, service: Arc<Service>) {
        self.is_over = true;
        self.models.set(&self.name, ModelState::Serving(service));
    }

    /// It cannot be opened, and why. The others go on.
    pub fn fail(mut self, why: &str) {
        self.is_over = true;
        self.models.set(&self.name, ModelState::Failed { why: why.to_owned() });
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        if !self.is_over {
            let why = "its boot ended without a word".to_owned();
            self.models.set(&self.name, ModelState::Failed { why });
        }
    }
}

fn word(state: &ModelState) -> &'static str {
    match state {
        ModelState::Loading { .. } => "is loading",
        ModelState::Serving(_) => "serves",
        ModelState::Draining(_) => "is draining",
        ModelState::Failed { .. } => "has failed",
    }
}
