//! Who the machine says it is: vendor, instance, region, container, SageMaker. Next: `container.rs`.

use crate::container;
use crate::machine::Around;
use crate::tree::Tree;

/// The vendor EC2 writes on Nitro.
const EC2: &str = "Amazon EC2";
/// Identity; empty where nothing tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// DMI `sys_vendor`.
    pub vendor: Option<String>,
    /// DMI `product_name`; the instance type on Nitro.
    pub product: Option<String>,
    /// True on EC2, by DMI or the hypervisor's uuid.
    pub is_ec2: bool,
    /// Instance type, without SageMaker's `ml.`.
    pub instance: Option<String>,
    /// EC2's id of the instance.
    pub instance_id: Option<String>,
    /// AWS region.
    pub region: Option<String>,
    /// Which container runtime, and how that is known.
    pub container: Option<String>,
    /// How it is known that this is SageMaker.
    pub sagemaker: Option<String>,
}

impl Identity {
    pub(crate) fn read(tree: Tree<'_>, around: &Around) -> Self {
        let dmi = |name: &str| tree.word(&format!("/sys/class/dmi/id/{name}"));
        let (vendor, product) = (dmi("sys_vendor"), dmi("product_name"));
        let xen = tree.word("/sys/hypervisor/uuid").is_some_and(|uuid| uuid.starts_with("ec2"));
        let is_ec2 = vendor.as_deref() == Some(EC2) || xen;
        let tag = dmi("board_asset_tag").filter(|tag| is_ec2 && tag.starts_with("i-"));
        let container = container::find(tree, around);
        let variable = |name| around.variable(name).map(str::to_owned);
        let named = variable("SM_CURRENT_INSTANCE_TYPE");
        let instance = product.clone().filter(|name| is_ec2 && is_type(name)).or(named);
        Self {
            is_ec2,
            instance: instance.map(|name| name.trim_start_matches("ml.").to_owned()),
            instance_id: tag,
            region: ["AWS_REGION", "AWS_DEFAULT_REGION", "SAGEMAKER_REGION"]
                .into_iter()
                .find_map(variable),
            sagemaker: sagemaker(tree, around, container.is_some()),
            container,
            vendor,
            product,
        }
    }
}

/// `c7g.xlarge`, `p6-b200.48xlarge`.
fn is_type(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.split_once('.').is_some_and(|(series, size)| {
        !series.is_empty()
            && !size.is_empty()
            && [series, size].iter().all(|p| p.chars().all(is_plain))
    })
}

fn sagemaker(tree: Tree<'_>, around: &Around, in_container: bool) -> Option<String> {
    let is_name = |name: &&str| name.starts_with("SAGEMAKER_") || name.starts_with("SM_");
    if let Some(name) = around.names().find(is_name) {
        return Some(format!("variable {name}"));
    }
    // The folder alone may come from an image that was made for SageMaker and runs elsewhere.
    let is_mounted = in_container && tree.exists("/opt/ml/model");
    is_mounted.then(|| "/opt/ml/model in a container".to_owned())
}
