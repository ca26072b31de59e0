//! A C compiler's layout of our header twin and Rust's of the bindings are one. The compiler is `cc`, which Rust
//! needs as a linker: no machine that runs this test lacks it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

use neuron_sys::{
    BatchOperation, Dtype, Family, Framework, Functions, InstanceInfo, InstanceSize, MemoryStats,
    NAME_BYTES, Placement, Status, TensorBatch, TensorInfo, TensorInfoArray, Usage, VERSION_MAJOR,
    Version,
};

const HEADER: &str = include_str!("twin.h");

/// Expressions of C and what Rust says they are.
type Table = BTreeMap<String, i64>;

macro_rules! layout {
    ($table:ident, $c:literal, $rust:ty { $($field:ident),* }) => {
        $table.insert(format!("sizeof({})", $c), number(size_of::<$rust>()));
        $table.insert(format!("_Alignof({})", $c), number(align_of::<$rust>()));
        $($table.insert(
            format!("offsetof({}, {})", $c, stringify!($field)),
            number(offset_of!($rust, $field)),
        );)*
    };
}

fn number(value: usize) -> i64 {
    i64::try_from(value).expect("a small number")
}

fn rust() -> Table {
    let mut table = Table::new();
    layout!(table, "nrt_tensor_info_t", TensorInfo { name, usage, size, dtype, shape, ndim });
    layout!(table, "nrt_tensor_info_array_t", TensorInfoArray { tensor_count, tensor_array });
    layout!(
        table,
        "nrt_version_t",
        Version { rt_major, rt_minor, rt_patch, rt_maintenance, rt_detail, git_hash }
    );
    layout!(
        table,
        "nrt_instance_info_t",
        InstanceInfo { family, size, arch_name, device_revision }
    );
    layout!(table, "nrt_vnc_memory_stats_t", MemoryStats { bytes_used, bytes_limit });
    layout!(table, "nrt_tensor_batch_op_t", BatchOperation { offset, size, buffer });
    layout!(table, "nrt_tensor_batch_t", TensorBatch { tensor, ops, num_ops });
    for (name, bytes) in [
        ("NRT_STATUS", size_of::<Status>()),
        ("nrt_tensor_placement_t", size_of::<Placement>()),
        ("nrt_framework_type_t", size_of::<Framework>()),
        ("nrt_tensor_usage_t", size_of::<Usage>()),
        ("nrt_dtype_t", size_of::<Dtype>()),
    ] {
        table.insert(format!("sizeof({name})"), number(bytes));
    }
    table.extend(constants());
    table
}

fn constants() -> Table {
    let statuses = Status::KNOWN.iter().map(|(status, name)| (*name, i64::from(status.0)));
    let placements = Placement::KNOWN.iter().map(|(one, name)| (*name, i64::from(one.0)));
    let frameworks = Framework::KNOWN.iter().map(|(one, name)| (*name, i64::from(one.0)));
    let usages = Usage::KNOWN.iter().map(|(one, name)| (*name, i64::from(one.0)));
    let dtypes = Dtype::KNOWN.iter().map(|(one, name)| (*name, i64::from(one.0)));
    let families = Family::KNOWN.iter().map(|(one, name)| (*name, i64::from(one.0)));
    let sizes = InstanceSize::KNOWN.iter().map(|(one, name)| (*name, i64::from(one.0)));
    let all = statuses.chain(placements).chain(frameworks).chain(usages).chain(dtypes);
    let mut table: Table =
        all.chain(families).chain(sizes).map(|(name, value)| (name.to_owned(), value)).collect();
    let major = i64::try_from(VERSION_MAJOR).expect("a small number");
    table.insert("NRT_MAJOR_VERSION".to_owned(), major);
    table.insert("NRT_TENSOR_NAME_MAX".to_owned(), number(NAME_BYTES));
    table
}

/// What the compiler says of the same expressions.
fn c(expressions: &Table) -> Table {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("twin-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let mut lines = String::new();
    for expression in expressions.keys() {
        writeln!(lines, "    printf(\"%s=%lld\\n\", \"{expression}\", (long long)({expression}));")
            .expect("it is text");
    }
    let program =
        format!("#include <stdio.h>\n#include \"twin.h\"\nint main(void) {{\n{lines}}}\n");
    let (source, binary) = (folder.join("main.c"), folder.join("main"));
    fs::write(&source, program).expect("a file");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"]);
    compiler.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    let built = compiler.arg(&source).arg("-o").arg(&binary).output().expect("cc");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(&binary).output().expect("it was built");
    assert!(ran.status.success(), "{ran:?}");
    fs::remove_dir_all(&folder).expect("ours");
    let text = String::from_utf8(ran.stdout).expect("text");
    let line = |line: &str| {
        let (expression, value) = line.split_once('=').expect("an equation");
        (expression.to_owned(), value.parse().expect("a number"))
    };
    text.lines().map(line).collect()
}

#[test]
fn a_c_compiler_agrees_on_every_size_offset_and_constant() {
    let rust = rust();
    let c = c(&rust);
    let differ: Vec<String> = rust
        .iter()
        .filter(|(expression, value)| c.get(*expression) != Some(value))
        .map(|(expression, value)| format!("{expression}: Rust {value}, C {:?}", c.get(expression)))
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert_eq!(rust.len(), c.len());
}

#[test]
fn the_twin_has_no_constant_and_no_function_that_the_bindings_lack() {
    let known = constants();
    let words = HEADER.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let constants: Vec<&str> =
        words.clone().filter(|w| w.starts_with("NRT_") && *w != "NRT_STATUS").collect();
    assert!(constants.len() > 60, "{}", constants.len());
    for constant in constants {
        assert!(known.contains_key(constant), "{constant}");
    }
    let declared = HEADER.lines().filter_map(|line| {
        let (before, _) = line.split_once('(')?;
        before.rsplit([' ', '*']).next().filter(|name| name.starts_with("nrt_"))
    });
    let mut declared: Vec<&str> = declared.collect();
    let mut bound = [Functions::REQUIRED, Functions::OPTIONAL].concat();
    declared.sort_unstable();
    bound.sort_unstable();
    assert_eq!(declared, bound);
}
