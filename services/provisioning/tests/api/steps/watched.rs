//! Machines whose changes pass as effects.

use crate::effects::Effects;
use crate::outside::World;
use crate::site::line;
use berth_provisioner::docker::{Answered, Call, LogLine, LogQuery, Observed};
use berth_provisioner::drift::Drift;
use berth_provisioner::facts::Facts;
use berth_provisioner::spec::{Deployment, PlacementRef};
use berth_provisioner::wipe::WipeReport;
use berth_provisioner::{Error, HostKey, Result, Target};
use berth_provisioning::reconcile::{Action, Answer, Site};
use futures::stream::BoxStream;
use std::sync::Arc;

/// Other machines, watched.
pub(super) struct Watched {
    pub(super) site: Arc<dyn Site>,
    pub(super) world: World,
}

impl Watched {
    async fn pass<T, F: Future<Output = Result<T>>>(
        &self,
        what: String,
        act: impl FnMut() -> F,
    ) -> Result<T> {
        let effects: &Effects = &self.world.effects;
        let lost = || Error::Lost { what: "a test" };
        effects.pass(format!("machine {what}"), lost, act).await
    }

    /// Nothing of a placement that signs is made before the signer knows its fence.
    fn admitted(&self, whose: &PlacementRef) {
        let known = self.world.known();
        if let Some(held) = known.signer.nodes.get(&whose.node_id) {
            assert!(held.fence >= whose.fence, "{held:?} {whose:?}");
        } else {
            let mut bound = known.signer.validators.values();
            let signs = bound.any(|v| v.status.as_ref().unwrap().node_id == whose.node_id);
            assert!(!signs, "the signer was not asked");
        }
    }
}

impl Site for Watched {
    fn scan<'a>(&'a self, address: &'a str) -> Answer<'a, HostKey> {
        self.site.scan(address)
    }

    fn measure<'a>(&'a self, at: &'a Target) -> Answer<'a, Facts> {
        self.site.measure(at)
    }

    fn observe<'a>(&'a self, at: &'a Target, whose: &'a PlacementRef) -> Answer<'a, Observed> {
        self.site.observe(at, whose)
    }

    fn drift<'a>(&'a self, at: &'a Target, deployment: &'a Deployment) -> Answer<'a, Drift> {
        self.site.drift(at, deployment)
    }

    fn hardware<'a>(&'a self, at: &'a Target) -> Answer<'a, Facts> {
        self.site.hardware(at)
    }

    fn act<'a>(
        &'a self,
        at: &'a Target,
        deployment: &'a Deployment,
        action: Action<'a>,
    ) -> Answer<'a, ()> {
        self.admitted(&deployment.placement);
        Box::pin(self.pass(line(action), move || self.site.act(at, deployment, action)))
    }

    fn exec<'a>(
        &'a self,
        at: &'a Target,
        container: &'a str,
        command: &'a [&'a str],
        stdin: &'a [u8],
    ) -> Answer<'a, Vec<u8>> {
        let what = format!("run {}", command.last().unwrap());
        Box::pin(self.pass(what, move || self.site.exec(at, container, command, stdin)))
    }

    fn call<'a>(
        &'a self,
        at: &'a Target,
        whose: &'a PlacementRef,
        container: &'a str,
        call: Call<'a>,
    ) -> Answer<'a, Answered> {
        self.site.call(at, whose, container, call)
    }

    fn logs<'a>(
        &'a self,
        at: &'a Target,
        container: &'a str,
        query: LogQuery,
    ) -> Answer<'a, BoxStream<'static, Result<LogLine>>> {
        self.site.logs(at, container, query)
    }

    fn wipe<'a>(
        &'a self,
        at: &'a Target,
        node: Option<&'a PlacementRef>,
    ) -> Answer<'a, WipeReport> {
        let what = if node.is_some() { "wipe node" } else { "wipe" };
        Box::pin(self.pass(what.to_owned(), move || self.site.wipe(at, node)))
    }
}
