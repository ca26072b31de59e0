//! An OCI image layout: blobs by their digests, and an index of them.
//!
//! **Source**: OCI image specification 1.0, `image-layout.md`, `manifest.md`, `config.md`. The index of
//! all architectures has the version as its name, each image the version and its architecture:
//! `umoci` finds images by such a name only.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tree::compress;
use super::{Arch, Commit, hex};

const CONFIG: &str = include_str!("../../../../images/container/config.json");
/// The promise of images/README.md: what a machine pulls.
const BYTES_MAX: u64 = 60 << 20;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layout that is being written.
pub(super) struct Layout {
    folder: PathBuf,
    version: String,
    commit: Commit,
    images: Vec<Value>,
}

/// A layer as it is pulled, and the digest of what is in it.
struct Layer {
    descriptor: Value,
    content: String,
    bytes: u64,
}

impl Layout {
    /// An empty one in a new folder.
    pub(super) fn new(folder: &Path, version: &str, commit: Commit) -> anyhow::Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| blobs.display().to_string())?;
        let (folder, version) = (folder.to_owned(), version.to_owned());
        Ok(Self { folder, version, commit, images: Vec::new() })
    }

    /// Adds an image of these layers, each an archive with what it is; tells its digest.
    pub(super) fn add(&mut self, arch: &Arch, layers: &[(&str, &[u8])]) -> anyhow::Result<String> {
        let mut written = Vec::new();
        for (_, archive) in layers {
            written.push(self.layer(archive)?);
        }
        let config = self.config(arch, layers, &written)?;
        let config = self.blob("application/vnd.oci.image.config.v1+json", &config)?;
        let descriptors: Vec<&Value> = written.iter().map(|layer| &layer.descriptor).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors,
        });
        let mut manifest = self.blob(MANIFEST, manifest.to_string().as_bytes())?;
        manifest["platform"] = json!({ "architecture": arch.oci, "os": "linux" });
        let bytes: u64 = written.iter().map(|layer| layer.bytes).sum();
        eprintln!("  {:6} {:5.1} MiB compressed", arch.oci, mib(bytes));
        ensure!(bytes <= BYTES_MAX, "{} has {bytes} bytes, {BYTES_MAX} at most", arch.oci);
        self.images.push(manifest.clone());
        digest_of(&manifest)
    }

    /// Writes the index; tells its digest, which is the name that an image has everywhere.
    pub(super) fn finish(self) -> anyhow::Result<String> {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": &self.images });
        let mut index = self.blob(INDEX, index.to_string().as_bytes())?;
        let digest = digest_of(&index)?;
        index["annotations"] = name(&self.version);
        let mut all = vec![index];
        for image in &self.images {
            let mut image = image.clone();
            let arch = image["platform"]["architecture"].as_str().context("an architecture")?;
            image["annotations"] = name(&format!("{}-{arch}", self.version));
            all.push(image);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": all });
        self.write("index.json", index.to_string().as_bytes())?;
        self.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(digest)
    }

    fn layer(&self, archive: &[u8]) -> anyhow::Result<Layer> {
        let media = "application/vnd.oci.image.layer.v1.tar+gzip";
        let descriptor = self.blob(media, &compress(archive)?)?;
        let bytes = descriptor["size"].as_u64().context("a size")?;
        Ok(Layer { descriptor, content: digest(archive), bytes })
    }

    fn config(
        &self,
        arch: &Arch,
        layers: &[(&str, &[u8])],
        written: &[Layer],
    ) -> anyhow::Result<Vec<u8>> {
        let mut config: Value = serde_json::from_str(CONFIG).context("config.json")?;
        config["Labels"]["org.opencontainers.image.version"] = json!(self.version);
        config["Labels"]["org.opencontainers.image.revision"] = json!(self.commit.id);
        let created = &self.commit.time;
        let contents: Vec<&str> = written.iter().map(|layer| &*layer.content).collect();
        let history = |(what, _): &(&str, &[u8])| json!({ "created": created, "created_by": what });
        let history: Vec<Value> = layers.iter().map(history).collect();
        let config = json!({
            "created": created, "architecture": arch.oci, "os": "linux", "config": config,
            "rootfs": { "type": "layers", "diff_ids": contents }, "history": history,
        });
        Ok(config.to_string().into_bytes())
    }

    /// Writes a blob and describes it.
    fn blob(&self, media: &str, bytes: &[u8]) -> anyhow::Result<Value> {
        let digest = digest(bytes);
        self.write(&format!("blobs/{}", digest.replace(':', "/")), bytes)?;
        Ok(json!({ "mediaType": media, "digest": digest, "size": bytes.len() }))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, bytes).with_context(|| path.display().to_string())
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn digest_of(descriptor: &Value) -> anyhow::Result<String> {
    Ok(descriptor["digest"].as_str().context("a digest")?.to_owned())
}

fn name(name: &str) -> Value {
    json!({ "org.opencontainers.image.ref.name": name })
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1_u32 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ARCHES;

    fn commit() -> Commit {
        Commit { id: "0123".to_owned(), time: "2026-01-02T03:04:05Z".to_owned() }
    }

    fn write(name: &str) -> (PathBuf, String) {
        let folder = std::env::temp_dir().join(format!("gimbal-oci-{name}-{}", std::process::id()));
        let mut layout = Layout::new(&folder, "0.1.0", commit()).expect("a folder");
        for arch in &ARCHES {
            layout.add(arch, &[("one", b"one"), ("two", arch.oci.as_bytes())]).expect("an image");
        }
        (folder, layout.finish().expect("an index"))
    }

    fn read(folder: &Path, descriptor: &Value) -> Value {
        let digest = descriptor["digest"].as_str().expect("a digest");
        let bytes = fs::read(folder.join("blobs").join(digest.replace(':', "/"))).expect("a blob");
        assert_eq!(descriptor["size"], bytes.len());
        assert_eq!(super::digest(&bytes), digest);
        serde_json::from_slice(&bytes).expect("JSON")
    }

    #[test]
    fn twice_gives_one_digest() {
        let ((first, a), (second, b)) = (write("first"), write("second"));
        assert_eq!(a, b);
        let count =
            |folder: &Path| fs::read_dir(folder.join("blobs/sha256")).expect("blobs").count();
        // The layer that both images have is there once.
        assert_eq!((count(&first), count(&second)), (8, 8));
        let index = |folder: &Path| fs::read(folder.join("index.json")).expect("an index");
        assert_eq!(index(&first), index(&second));
        for folder in [first, second] {
            fs::remove_dir_all(folder).expect("removed");
        }
    }

    #[test]
    fn every_image_is_found_by_its_name_and_by_its_processor() {
        let (folder, digest) = write("names");
        let index: Value =
            serde_json::from_slice(&fs::read(folder.join("index.json")).expect("read"))
                .expect("JSON");
        let entries = index["manifests"].as_array().expect("entries");
        let key = "org.opencontainers.image.ref.name";
        let names: Vec<_> = entries.iter().map(|e| e["annotations"][key].clone()).collect();
        assert_eq!(names, ["0.1.0", "0.1.0-amd64", "0.1.0-arm64"]);
        assert_eq!(entries[0]["digest"], digest);
        let inner = read(&folder, &entries[0]);
        for (i, arch) in ARCHES.iter().enumerate() {
            let image = &inner["manifests"][i];
            assert_eq!(image["platform"]["architecture"], arch.oci);
            assert_eq!(image["digest"], entries[i + 1]["digest"]);
            let config = read(&folder, &read(&folder, image)["config"]);
            assert_eq!(config["architecture"], arch.oci);
            assert_eq!(config["config"]["Entrypoint"], json!(["/gimbal"]));
            assert_eq!(config["config"]["Labels"]["org.opencontainers.image.revision"], "0123");
            let contents = json!([super::digest(b"one"), super::digest(arch.oci.as_bytes())]);
            assert_eq!(config["rootfs"]["diff_ids"], contents);
        }
        fs::remove_dir_all(folder).expect("removed");
    }

    /// People with an engine get the same.
    #[test]
    fn the_containerfile_says_the_same() {
        let file = include_str!("../../../../images/container/Containerfile");
        let all = |word: &str| -> Vec<&str> {
            file.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect()
        };
        let config: Value = serde_json::from_str(CONFIG).expect("JSON");
        assert_eq!(json!(all("ENV")), config["Env"]);
        for (key, name) in [("USER", "User"), ("STOPSIGNAL", "StopSignal")] {
            assert_eq!(json!(all(key)), json!([config[name]]));
        }
        for (key, name) in [("ENTRYPOINT", "Entrypoint"), ("CMD", "Cmd")] {
            let said: Value = serde_json::from_str(all(key)[0]).expect("JSON");
            assert_eq!(said, config[name]);
        }
        let port = all("EXPOSE")[0];
        assert_eq!(config["ExposedPorts"], json!({ port: {} }));
        for label in all("LABEL") {
            let (name, value) = label.split_once('=').expect("a label");
            assert_eq!(config["Labels"][name], value, "{name}");
        }
        let own = "com.amazonaws.sagemaker";
        let of_file = all("LABEL").iter().filter(|label| label.starts_with(own)).count();
        let labels = config["Labels"].as_object().expect("labels");
        assert_eq!(of_file, labels.keys().filter(|name| name.starts_with(own)).count());
    }
}
