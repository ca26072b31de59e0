//! Answers of each format, as their models and the tests of other servers write them.
//!
//! Calls stand as `«name arguments»` in what is expected.

use super::*;

#[test]
fn hermes_and_qwen() {
    use ToolFormat::Hermes;
    let call = "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Bonn\"}}\n</tool_call>";
    let expect = "«get_weather {\"city\": \"Bonn\"}»";
    check(Hermes, call, expect);
    check(Hermes, &format!("\n\n{call}\n"), expect);
    check(Hermes, &format!("I look.\n{call}\n{call}"), &format!("I look.\n{expect}{expect}"));
    check(Hermes, &format!("{call}\nDone."), &format!("{expect}\nDone."));
    // Without the end, and with one brace too few.
    check(Hermes, &call[..call.len() - 13], expect);
    check(Hermes, &call.replace("}}", "}"), expect);
    // Tags in strings, a list, arguments first, as a string, and none.
    check(
        Hermes,
        r#"<tool_call>{"name": "f", "arguments": {"x": "</tool_call>\"}"}}</tool_call>"#,
        r#"«f {"x": "</tool_call>\"}"}»"#,
    );
    check(
        Hermes,
        r#"<tool_call>[{"name": "f", "arguments": {}}, {"name": "add", "arguments": {"a": 1}}]</tool_call>"#,
        r#"«f {}»«add {"a": 1}»"#,
    );
    check(Hermes, r#"<tool_call>{"arguments": {"a": 1}, "name": "f"}"#, r#"«f {"a": 1}»"#);
    check(
        Hermes,
        r#"<tool_call>{"name": "f", "arguments": "{\"a\": 1}", "id": 7}</tool_call>"#,
        r#"«f {"a": 1}»"#,
    );
    check(Hermes, r#"<tool_call>{"name": "f"}</tool_call>"#, "«f {}»");
    check(Hermes, r#"<tool_call>{"name": "f", "arguments": null}</tool_call>"#, "«f {}»");
    // A tool that was not given is told, as vLLM does.
    check(Hermes, r#"<tool_call>{"name": "other", "arguments": {}}"#, "«other {}»");
    check(
        Hermes,
        "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"x\ny\"}}",
        "«f {\"a\": \"x\\u000ay\"}»",
    );
    // Cut short.
    check(Hermes, &call[..62], "«get_weather {\"city\": \"Bon»");
    check(Hermes, r#"<tool_call>{"name": "f", "arguments": {"a": x}}"#, "«f {\"a\": »x}}");
    for text in [
        "<tool_call>",
        "a <tool_call> b",
        "<tool_call>{\"name\": \"get",
        "<tool_call>{\"name\": \"no name\", \"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\": \"f\", \"arguments\": 5}</tool_call>",
        "<tool_call>{\"name\": \"f\", \"arguments\": \"{\"}</tool_call>",
        "<tool_call>{\"x\": 1}</tool_call>",
        "<tool_call>{}</tool_call>",
        "<tool_call>[]</tool_call>",
        "</tool_call>",
        "{\"name\": \"f\", \"arguments\": {}}",
        " \n",
        "",
        "<<tool_<tool_cal",
    ] {
        plain(Hermes, text);
    }
    check(Hermes, "<<tool_call><tool_call>{\"name\": \"f\"}", "<<tool_call>«f {}»");
}

#[test]
fn llama_3() {
    use ToolFormat::Llama3Json;
    let call = r#"{"name": "get_weather", "parameters": {"city": "SF", "days": 2}}"#;
    let expect = r#"«get_weather {"city": "SF", "days": 2}»"#;
    check(Llama3Json, call, expect);
    check(Llama3Json, &format!("<|python_tag|>{call}"), expect);
    check(Llama3Json, &format!("{call}; {call}"), &format!("{expect}{expect}"));
    check(Llama3Json, &format!("[{call}, {call}]"), &format!("{expect}{expect}"));
    check(Llama3Json, &format!("Here: <|python_tag|>{call}"), &format!("Here: {expect}"));
    check(Llama3Json, r#"{"type": "function", "name": "f", "parameters": {}}"#, "«f {}»");
    for text in [
        "{\"name\": \"other\", \"parameters\": {}}",
        "{\"name\": \"f\"}",
        "{\"answer\": 42}",
        "[1, 2]",
        "<|python_tag|>print(1)",
        "Here: {\"name\": \"f\", \"parameters\": {}}",
    ] {
        plain(Llama3Json, text);
    }
}

#[test]
fn python() {
    use ToolFormat::Pythonic;
    check(
        Pythonic,
        "[get_weather(city='San Francisco', metric='celsius'), f(), add(a=1, b=[2.5, None], c={'k': True})]",
        "«get_weather {\"city\": \"San Francisco\", \"metric\": \"celsius\"}»«f {}»\
         «add {\"a\": 1, \"b\": [2.5, null], \"c\": {\"k\": true}}»",
    );
    check(
        Pythonic,
        "<|python_start|>[add(a=\"x, (y)\\\"\", b='it\\'s',)]<|python_end|>",
        r#"«add {"a": "x, (y)\"", "b": "it's"}»"#,
    );
    check(Pythonic, "[ f ( ) ]", "[ f ( ) ]");
    check(Pythonic, "[add(\n  a = 1,\n  b = 2\n)]", "«add {\"a\": 1, \"b\": 2}»");
    check(Pythonic, r#"[{"name": "f", "parameters": {}}]"#, "«f {}»");
    check(Pythonic, r#"{"name": "f", "parameters": {}}"#, "«f {}»");
    // Cut short: an argument that is not whole is not told.
    check(Pythonic, "[add(a=1, b='x", "«add {\"a\": 1»");
    check(Pythonic, "[add(a=1, b=x)]", "«add {\"a\": 1» b=x)]");
    for text in [
        "[1, 2]",
        "[add(1)]",
        "[other(a=1)]",
        "[add(a=g())]",
        "add(a=1)",
        "[]",
        "Look: [f()]",
        "[f(",
    ] {
        plain(Pythonic, text);
    }
}

#[test]
fn mistral() {
    use ToolFormat::Mistral;
    let expect = "«add {\"a\": 3.5, \"b\": 4}»";
    check(Mistral, r#"[TOOL_CALLS][{"name": "add", "arguments":{"a": 3.5, "b": 4}}]"#, expect);
    check(
        Mistral,
        r#"Yes.[TOOL_CALLS] [{"name": "add", "arguments": {"a": 3.5, "b": 4}}, {"arguments": {}, "name": "f", "id": "000000000"}]"#,
        &format!("Yes.{expect}«f {{}}»"),
    );
    check(Mistral, r#"[TOOL_CALLS]add{"a": 3.5, "b": 4}"#, expect);
    check(Mistral, r#"[TOOL_CALLS]add[ARGS]{"a": 3.5, "b": 4}"#, expect);
    check(Mistral, r#"[TOOL_CALLS]add[CALL_ID]Xy1[ARGS]{"a": 3.5, "b": 4}"#, expect);
    check(
        Mistral,
        r#"[TOOL_CALLS]add{"a": 3.5, "b": 4}[TOOL_CALLS]f{}"#,
        &format!("{expect}«f {{}}»"),
    );
    for text in
        ["[TOOL_CALLS]", "[TOOL_CALLS]add", "[TOOL_CALLS]add[X]{}", "[TOOL_CALLS]a b{}", "[TOO"]
    {
        plain(Mistral, text);
    }
}

#[test]
fn qwen_3_coder() {
    use ToolFormat::Qwen3Xml;
    let call = "<tool_call>\n<function=get_weather>\n<parameter=city>\n5\n</parameter>\n\
        <parameter=days>\n5\n</parameter>\n<parameter=metric>\ntrue\n</parameter>\n\
        <parameter=tags>\n[\"a\", {\"b\": null}]\n</parameter>\n<parameter=other>\n 1\n\n</parameter>\n\
        </function>\n</tool_call>";
    let expect = "«get_weather {\"city\": \"5\", \"days\": 5, \"metric\": true, \
        \"tags\": [\"a\", {\"b\": null}], \"other\": \" 1\\n\"}»";
    check(Qwen3Xml, call, expect);
    check(Qwen3Xml, &format!("I look.\n{call}\n{call}"), &format!("I look.\n{expect}{expect}"));
    check(Qwen3Xml, &call.replace("<tool_call>\n", ""), expect);
    check(Qwen3Xml, &call.replace("</function>\n", ""), expect);
    check(Qwen3Xml, "<tool_call><function=f></function></tool_call>", "«f {}»");
    check(
        Qwen3Xml,
        "<function=add><parameter=a></parameter> </parameter></parameter></function>",
        "«add {\"a\": \"</parameter> </parameter>\"}»",
    );
    check(
        Qwen3Xml,
        "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>",
        "«f {\"a\": 1}»",
    );
    check(
        Qwen3Xml,
        "<function=add><parameter=a>1</parameter><parameter=b>2",
        "«add {\"a\": \"1\"»",
    );
    check(Qwen3Xml, "<tool_call><tool_call><function=f></function>", "<tool_call>«f {}»");
    for text in [
        "<function=add>",
        "<function=a b></function>",
        "<tool_call>\n<func>",
        "<function=add>x",
        "<parameter=a>",
    ] {
        plain(Qwen3Xml, text);
    }
}

#[test]
fn deepseek() {
    let v3 = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n\
        {\"city\": \"Bonn\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n\
        ```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
    let v31 = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\": \"Bonn\"}\
        <｜tool▁call▁end｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
    for format in [ToolFormat::DeepSeekV3, ToolFormat::DeepSeekV31] {
        for text in [v3, v31] {
            let expect = "«get_weather {\"city\": \"Bonn\"}»«f {}»";
            check(format, text, expect);
            check(format, &format!("I look. {text}"), &format!("I look. {expect}"));
        }
        plain(format, "<｜tool▁calls▁begin｜> none");
        plain(
            format,
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```py\n",
        );
        plain(format, "<｜tool▁call▁begin｜>a b<｜tool▁sep｜>{}");
        plain(format, "<｜tool▁ca");
    }
}

#[test]
fn granite_and_phi() {
    let list = r#"[{"name": "add", "arguments": {"a": 1}}, {"name": "f", "arguments": {}}]"#;
    let expect = "«add {\"a\": 1}»«f {}»";
    let (granite, phi) = (ToolFormat::Granite, ToolFormat::Phi4Mini);
    for begin in ["<|tool_call|>", "<tool_call>", "<|tool_call|> \n", ""] {
        check(granite, &format!("{begin}{list}"), expect);
    }
    check(granite, "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>", "«f {}»");
    plain(granite, "[1]");
    check(phi, &format!("<|tool_call|>{list}<|/tool_call|>"), expect);
    check(phi, &format!("functools{list}"), expect);
    check(
        phi,
        &format!("Yes. functools{}", list.replace("arguments", "parameters")),
        &format!("Yes. {expect}"),
    );
    plain(phi, "The functools module.");
    plain(phi, list);
}

#[test]
fn who_has_learnt_no_form() {
    use ToolFormat::Generic;
    let call = r#"{"name": "add", "arguments": {"a": 1}}"#;
    let expect = "«add {\"a\": 1}»";
    check(Generic, call, expect);
    check(Generic, &format!("[{call}]"), expect);
    check(Generic, &format!("{call}\n{call}"), &format!("{expect}{expect}"));
    check(Generic, &format!("```json\n{call}\n```"), expect);
    check(
        Generic,
        &format!("Sure:\n```json\n{call}\n```\nDone."),
        &format!("Sure:\n{expect}\nDone."),
    );
    let fence = format!("```json\n{call}\n```\n");
    check(Generic, &format!("{fence}{fence}"), &format!("{expect}{expect}"));
    check(Generic, &format!("{fence}```js\nx"), &format!("{expect}js\nx"));
    check(Generic, &format!("<tool_call>[{call}]</tool_call>"), expect);
    for text in [
        "{\"name\": \"Ada\", \"age\": 36}",
        "{\"name\": \"other\", \"arguments\": {}}",
        "```json\n{\"a\": 1}\n```",
        "An object: {\"name\": \"f\", \"arguments\": {}}",
    ] {
        plain(Generic, text);
    }
}

#[test]
fn templates_tell_the_format() {
    use ToolFormat as F;
    for (template, expect) in [
        ("{{ '<|im_start|>' + message['role'] }}", F::Generic),
        (
            "within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{\"name\": <function-name>",
            F::Hermes,
        ),
        (
            "{{- '<tool_call>\\n<function=' + tool_call.name + '>\\n' }}{{- '<parameter=' }}",
            F::Qwen3Xml,
        ),
        ("{{- '<|python_tag|>' + tool_call.name + \".call(\" }}", F::Llama3Json),
        (
            "{\"name\": function name, \"parameters\": dictionary of argument name and its value}",
            F::Llama3Json,
        ),
        ("{{- '<|python_start|>' }}", F::Pythonic),
        ("[func_name1(params_name1=params_value1), func_name2(params)]", F::Pythonic),
        ("{{- \"[TOOL_CALLS]\" + name + \"[ARGS]\" }}", F::Mistral),
        (
            "'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + '<｜tool▁sep｜>' + '\\n```json\\n'",
            F::DeepSeekV3,
        ),
        ("'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + '<｜tool▁sep｜>'", F::DeepSeekV31),
        ("'<|start_of_role|>assistant' <|tool_call|>", F::Granite),
        ("'<|start_of_role|>assistant' <tool_call></tool_call>", F::Granite),
        (
            "{{ '<|' + message['role'] + '|>' + '<|tool|>' + message['tools'] + '<|/tool|>' }}",
            F::Phi4Mini,
        ),
    ] {
        assert_eq!(F::of_template(template), expect, "{template}");
    }
    for name in F::names() {
        assert!(F::named(name).is_some(), "{name}");
    }
    assert_eq!(F::named("none"), None);
}
