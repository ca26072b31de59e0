//! What a result code is called. Next: `device`.

use std::ffi::{CStr, c_char};
use std::ptr;

use super::border::Out;
use super::code::{Code, INVALID_VALUE, SUCCESS};

fn tell(text: Option<&'static CStr>, to: &Out<*const c_char>) -> Code {
    match (to.put(text.map_or(ptr::null(), CStr::as_ptr)), text) {
        (Ok(()), Some(_)) => SUCCESS,
        _ => INVALID_VALUE,
    }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGetErrorName(code: Code, name: Out<*const c_char>) -> Code {
    tell(code.told().map(|(name, _)| name), &name)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGetErrorString(code: Code, text: Out<*const c_char>) -> Code {
    tell(code.told().map(|(_, text)| text), &text)
}
