//! `tokenizer.json`, chat templates and what a model writes.

use std::sync::OnceLock;

use gimbal_text::{
    ChatTemplate, Named, Piece, RenderOptions, Tokenizer, TokenizerData, ToolFormat, ToolParser,
    ToolSpec,
};
use serde_json::json;

use crate::golden;

/// Bytes of a `tokenizer.json` that are tried; real ones are built in milliseconds a megabyte.
const JSON_BYTES_MAX: usize = 1 << 18;

pub(crate) const TOKENIZER_WORDS: &[&str] = &[
    "BPE",
    "Unigram",
    "WordPiece",
    "WordLevel",
    "ByteLevel",
    "ByteFallback",
    "Metaspace",
    "Split",
    "Replace",
    "Sequence",
    "Strip",
    "Fuse",
    "NFC",
    "NFKC",
    "Prepend",
    "Digits",
    "Precompiled",
    "TemplateProcessing",
    "add_prefix_space",
    "prepend_scheme",
    "special",
    "normalized",
    "merges",
    "vocab",
    "unk_id",
    "byte_fallback",
    "ignore_merges",
    "Regex",
    "(a+)+$",
    "null",
    "\\u2581",
];

pub(crate) const TEMPLATE_WORDS: &[&str] = &[
    "{% for m in messages %}",
    "{% endfor %}",
    "{{ ",
    " }}",
    "{% if ",
    "{% endif %}",
    "{% set ",
    "{% macro f() %}",
    "{% endmacro %}",
    "namespace(",
    "range(99999999)",
    "|tojson",
    "|trim",
    "|length",
    "raise_exception(",
    "strftime_now(",
    ".split(",
    ".strip()",
    "[::-1]",
    "loop.index0",
    "{% generation %}",
    "messages[0]",
    " is defined",
    "bos_token",
    "add_generation_prompt",
    " * 99",
    "'%s' % ",
    ".format(",
    "|indent(",
    "|batch(",
    "loop(",
    "recursive",
    "{% call f() %}",
    "{% endcall %}",
    "{% filter ",
    "[1:",
    "cycler(",
    "joiner(",
    "dict(",
    "**",
    "//",
    "|map(",
    "|groupby(",
    "is sameas ",
];

pub(crate) fn tokenizer(bytes: &[u8]) {
    if bytes.len() > JSON_BYTES_MAX {
        return;
    }
    match Tokenizer::from_json(bytes, &Named::default()) {
        Ok(tokenizer) => speak(&tokenizer),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Encodes and decodes what people write; whatever comes of it is text.
pub(crate) fn speak(tokenizer: &Tokenizer) {
    for text in ["", " a", "Hello  world\n\u{FDD0}<|im_start|>", "e\u{301}😀日本\0\u{FEFF}123"]
    {
        for special in [false, true] {
            if let Ok(ids) = tokenizer.encode(text, special) {
                let _ = tokenizer.tokens_min(text.len());
                let _ = tokenizer.decode(&ids, special);
            }
        }
    }
    let _ = (tokenizer.bos_text(), tokenizer.eos_text(), tokenizer.bytes(u32::MAX));
}

pub(crate) fn tokenizer_seeds() -> Vec<Vec<u8>> {
    ["byte_level", "byte_fallback", "unigram"]
        .map(|name| golden(&format!("tokenizers/{name}.json")))
        .to_vec()
}

pub(crate) fn template(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let Ok(template) = ChatTemplate::new(source, "<s>".to_owned(), "</s>".to_owned()) else {
        return;
    };
    let messages = [
        json!({ "role": "system", "content": "Be brief." }),
        json!({ "role": "user", "content": [{ "type": "text", "text": "Hi {{ bos_token }}" }] }),
        json!({ "role": "assistant", "content": null, "tool_calls": [] }),
    ];
    for add_generation_prompt in [false, true] {
        let options = RenderOptions { add_generation_prompt, now_unix: 0, ..Default::default() };
        let _ = template.render(&messages, &options);
    }
}

/// The last byte chooses what a template does with a client's text: no control token comes of it.
pub(crate) fn forgery(bytes: &[u8]) {
    static TEMPLATES: OnceLock<Vec<ChatTemplate>> = OnceLock::new();
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    let tokenizer =
        TOKENIZER.get_or_init(|| Tokenizer::new(&TokenizerData::byte_level()).expect("own data"));
    let templates = TEMPLATES.get_or_init(|| {
        let new = |source: &&str| {
            ChatTemplate::new(source, String::new(), String::new()).expect("a template")
        };
        FORGERIES.iter().map(new).collect()
    });
    let Some((how, text)) = bytes.split_last() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let template = &templates[usize::from(*how) % templates.len()];
    let messages = [json!({ "role": text, "content": text, text: { text: [text] } })];
    let options = RenderOptions::default();
    let (Ok(ids), Ok(prompt)) =
        (template.encode(tokenizer, &messages, &options), template.render(&messages, &options))
    else {
        return;
    };
    assert!(!ids.iter().any(|id| tokenizer.is_control(*id)), "{text:?}");
    assert_eq!(tokenizer.decode(&ids, false), prompt, "no letter is lost");
}

const FORGERIES: [&str; 7] = [
    "{{ messages[0].content }}{{ messages[0].role }}",
    "{{ messages | tojson }}{{ messages }}",
    "{{ messages[0].content | replace('x', '') | lower | trim }}",
    "{{ messages[0].content.split(' ') | join }}",
    "{{ '<|' ~ messages[0].content ~ '|>' }}",
    "{% for c in messages[0].content[::2] %}{{ c }}{% endfor %}",
    "{{ messages[0].content | striptags | reverse }}",
];

pub(crate) const FORGERY_WORDS: &[&str] =
    &["<|im_end|>", "<|im_start|>", "<|", "|>", "im_", "end", "\u{FDD0}", "\u{F0000}", "x", " "];

pub(crate) fn forgery_seeds() -> Vec<Vec<u8>> {
    ["<|im_end|>\0", "a<|im_<|im_end|>end|>\u{2}", "<\u{FDD0}|im_end|>\n<|imx_start|>\u{2}"]
        .map(|seed| seed.as_bytes().to_vec())
        .to_vec()
}

pub(crate) fn template_seeds() -> Vec<Vec<u8>> {
    [
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + \
         message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}\
         {{ '<|im_start|>assistant\n' }}{% endif %}",
        "{{ bos_token }}{%- set ns = namespace(system='') -%}{%- for m in messages -%}\
         {%- if m.role == 'system' -%}{%- set ns.system = m.content|trim -%}{%- elif loop.first -%}\
         {{ ns.system ~ '\n' }}{%- endif -%}{{ m['content'] | tojson }}{%- endfor -%}",
        "{% macro turn(m) %}[INST] {{ m.content.split('</think>')[-1].lstrip('\\n') }}{% endmacro %}\
         {% for m in messages[::-1] %}{{ turn(m) }}{% if loop.index0 > 9 %}\
         {{ raise_exception('too many') }}{% endif %}{% endfor %}{{ strftime_now('%d %b %Y') }}",
    ]
    .map(|template| template.as_bytes().to_vec())
    .to_vec()
}

/// The last byte chooses the format: no letter of an answer without calls is lost, and letters that
/// come one by one mean the same.
pub(crate) fn calls(bytes: &[u8]) {
    let Some((how, text)) = bytes.split_last() else { return };
    let text = String::from_utf8_lossy(text);
    let formats: Vec<ToolFormat> = ToolFormat::names().filter_map(ToolFormat::named).collect();
    let format = formats[usize::from(*how) % formats.len()];
    let parameters = json!({ "properties": { "a": { "type": "integer" } } });
    let tool = json!([{ "function": { "name": "f", "parameters": parameters } }]);
    let tools = ToolSpec::read(&tool).expect("good tools");
    let parsed = |cuts: &[&str]| {
        let mut parser = ToolParser::new(format, &tools);
        let mut pieces: Vec<Piece> = cuts.iter().flat_map(|cut| parser.push(cut)).collect();
        pieces.extend(parser.finish());
        let (mut said, mut called) = (String::new(), String::new());
        for piece in pieces {
            match piece {
                Piece::Text(text) => said += &text,
                Piece::Call { index, name } => called += &format!("\n{index} {name} "),
                Piece::Arguments { delta, .. } => called += &delta,
            }
        }
        (said, called)
    };
    let whole = parsed(&[&text]);
    let letters: Vec<&str> = text.split("").collect();
    assert_eq!(parsed(&letters), whole, "{format:?}");
    assert!(!whole.1.is_empty() || whole.0 == text, "{format:?}: {text:?}");
}

pub(crate) const CALLS_WORDS: &[&str] = &[
    "<tool_call>",
    "</tool_call>",
    "<|python_tag|>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "<function=f>",
    "<parameter=a>",
    "</parameter>",
    "</function>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "```json\n",
    "\"name\": \"f\"",
    "\"arguments\": {",
    "[f(a=",
    "'",
    "\\",
    "}",
    "]",
];

pub(crate) fn calls_seeds() -> Vec<Vec<u8>> {
    [
        "{\"name\": \"f\", \"arguments\": {\"a\": [1, null]}}\0",
        "Yes. <tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\u{1}",
        "[f(a='x', b=[1, {'c': None}]), f()]\u{4}",
        "[TOOL_CALLS]f[ARGS]{\"a\": \"\\u00e9\"}\u{6}",
        "<tool_call><function=f>\n<parameter=a>\n5\n</parameter>\n</function></tool_call>\u{7}",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n```\u{9}",
        "functools[{\"name\": \"f\", \"arguments\": {}}]\u{d}",
    ]
    .map(|seed| seed.as_bytes().to_vec())
    .to_vec()
}
