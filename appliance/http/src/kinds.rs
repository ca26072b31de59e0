//! What can go wrong for a client, by what it does next, with the words that each schema has for it.
//!
//! Which status each has: `fault.rs`. Next: `fault.rs`.

/// What went wrong, by what the client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Correct the body.
    Invalid,
    /// Ask for something this version can do.
    Unsupported,
    /// Ask for less.
    TooLong,
    /// Use another model name.
    UnknownModel,
    /// Send what the response that is not kept would have brought.
    UnknownResponse,
    /// Use another route.
    UnknownRoute,
    /// Use another method.
    Method,
    /// Come from elsewhere.
    Forbidden,
    /// Send a key that is known.
    Key,
    /// Send a key that may.
    KeyScope,
    /// Send a smaller body.
    BodyTooLarge,
    /// Send the body faster.
    BodyTooSlow,
    /// Send the body otherwise.
    MediaType,
    /// Come back later.
    QueueFull,
    /// Come back later, or allow more time.
    Deadline,
    /// The time is over; what was generated is lost.
    TimedOut,
    /// Wait for the model.
    Loading,
    /// Go elsewhere.
    Draining,
    /// Go elsewhere; somebody must act.
    Unavailable,
    /// This request failed.
    Internal,
}

impl Kind {
    const ALL: [Self; 20] = [
        Self::Invalid,
        Self::Unsupported,
        Self::TooLong,
        Self::UnknownModel,
        Self::UnknownResponse,
        Self::UnknownRoute,
        Self::Method,
        Self::Forbidden,
        Self::Key,
        Self::KeyScope,
        Self::BodyTooLarge,
        Self::BodyTooSlow,
        Self::MediaType,
        Self::QueueFull,
        Self::Deadline,
        Self::TimedOut,
        Self::Loading,
        Self::Draining,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The code in bodies of both schemas.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid_request",
            Self::Unsupported => "not_supported",
            Self::TooLong => "context_length_exceeded",
            Self::UnknownModel => "model_not_found",
            Self::UnknownResponse => "previous_response_not_found",
            Self::UnknownRoute => "not_found",
            Self::Method => "method_not_allowed",
            Self::Forbidden => "forbidden",
            Self::Key => "invalid_api_key",
            Self::KeyScope => "insufficient_scope",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::MediaType => "media_type",
            Self::QueueFull => "queue_full",
            Self::Deadline => "deadline",
            Self::TimedOut => "timed_out",
            Self::Loading => "loading",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal_error",
        }
    }

    /// The exception DJL-Serving names in the same situation.
    pub(crate) fn lmi_type(self) -> &'static str {
        match self {
            Self::Invalid
            | Self::Unsupported
            | Self::TooLong
            | Self::Method
            | Self::Forbidden
            | Self::BodyTooLarge
            | Self::BodyTooSlow
            | Self::MediaType => "BadRequestException",
            // The cloud's own word: DJL-Serving has no keys.
            Self::Key | Self::KeyScope => "AccessDeniedException",
            Self::UnknownModel => "ModelNotFoundException",
            Self::UnknownRoute | Self::UnknownResponse => "ResourceNotFoundException",
            Self::QueueFull | Self::Deadline => "WlmCapacityException",
            Self::TimedOut => "TranslateException",
            Self::Loading | Self::Draining | Self::Unavailable => "ServiceUnavailableException",
            Self::Internal => "InternalServerException",
        }
    }

    /// TGI's word, where it has one.
    pub(crate) fn tgi_type(self) -> &'static str {
        match self {
            Self::Invalid | Self::Unsupported | Self::TooLong => "validation",
            Self::QueueFull | Self::Deadline => "overloaded",
            Self::Internal => "generation",
            _ => self.code(),
        }
    }

    /// Their client decides by the status; the words are those of its errors.
    pub(crate) fn anthropic_type(self) -> &'static str {
        match self {
            Self::Key => "authentication_error",
            Self::KeyScope | Self::Forbidden => "permission_error",
            Self::UnknownModel | Self::UnknownRoute => "not_found_error",
            Self::BodyTooLarge => "request_too_large",
            Self::QueueFull | Self::Deadline => "rate_limit_error",
            Self::Loading | Self::Draining | Self::Unavailable => "overloaded_error",
            Self::BodyTooSlow | Self::TimedOut => "timeout_error",
            Self::Internal => "api_error",
            _ => "invalid_request_error",
        }
    }

    pub(crate) fn openai_type(self) -> &'static str {
        match self {
            Self::QueueFull | Self::Deadline => "rate_limit_error",
            Self::Loading | Self::Draining | Self::Unavailable => "service_unavailable_error",
            Self::TimedOut => "timeout_error",
            Self::Key => "authentication_error",
            Self::KeyScope => "permission_error",
            Self::Internal => "server_error",
            _ => "invalid_request_error",
        }
    }
}

/// Every code.
pub(crate) fn codes() -> utoipa::openapi::Object {
    let text = utoipa::openapi::schema::Type::String;
    let codes = Kind::ALL.map(Kind::code);
    utoipa::openapi::ObjectBuilder::new().schema_type(text).enum_values(Some(codes)).build()
}
