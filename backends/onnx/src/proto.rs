//! Fused nodes → ONNX `ModelProto` bytes.
//!
//! Written by hand because a session made by ONNX Runtime's model editor cannot see custom
//! operators, and because a dozen fields do not need a protobuf crate. **Source** of the field
//! numbers: onnx `onnx.proto3`.

use gimbal_model::fuse::Fused;

/// The operator domain.
pub(crate) const DOMAIN: &str = "gimbal";

/// A chain of our operators: `ids` (int32 `[rows]`) to `done` (f32 `[0, 1]`: logits stay with the
/// executor, see `session.rs`). The attribute `index` of a node is its place in the list.
pub(crate) fn write(fused: &[Fused]) -> Vec<u8> {
    let mut graph = Proto::default();
    for (i, node) in fused.iter().enumerate() {
        let input = if i == 0 { "ids".to_owned() } else { format!("x{i}") };
        let is_last = i + 1 == fused.len();
        let output = if is_last { "done".to_owned() } else { format!("x{}", i + 1) };
        graph.message(1, &operator(node.name(), i, &input, &output));
    }
    graph.text(2, "gimbal");
    graph.message(11, &value_info("ids", INT32, &["rows"]));
    graph.message(12, &value_info("done", FLOAT, &["none", "one"]));
    let mut model = Proto::default();
    model.number(1, 10).message(7, &graph);
    for (domain, version) in [("", 21), (DOMAIN, 1)] {
        let mut opset = Proto::default();
        opset.text(1, domain).number(2, version);
        model.message(8, &opset);
    }
    model.0
}

/// `TensorProto.DataType`.
const FLOAT: u64 = 1;
const INT32: u64 = 6;

fn operator(op_type: &str, index: usize, input: &str, output: &str) -> Proto {
    let mut attribute = Proto::default();
    attribute.text(1, "index").number(3, index as u64).number(20, 2);
    let mut node = Proto::default();
    let name = format!("{op_type}{index}");
    node.text(1, input).text(2, output).text(3, &name).text(4, op_type);
    node.message(5, &attribute).text(7, DOMAIN);
    node
}

fn value_info(name: &str, element: u64, dims: &[&str]) -> Proto {
    let mut shape = Proto::default();
    for dim in dims {
        let mut symbol = Proto::default();
        symbol.text(2, dim);
        shape.message(1, &symbol);
    }
    let (mut tensor, mut kind, mut info) = (Proto::default(), Proto::default(), Proto::default());
    tensor.number(1, element).message(2, &shape);
    kind.message(1, &tensor);
    info.text(1, name).message(2, &kind);
    info
}

/// A protobuf message being written.
#[derive(Default)]
struct Proto(Vec<u8>);

impl Proto {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }

    fn number(&mut self, field: u64, value: u64) -> &mut Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) -> &mut Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(&mut self, field: u64, text: &str) -> &mut Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(&mut self, field: u64, message: &Self) -> &mut Self {
        self.bytes(field, &message.0)
    }
}
