#ifndef SBA_HTML_READER_H
#define SBA_HTML_READER_H

#include <stddef.h>

/// What the reader met. The text of an element start or end is its name in lowercase.
enum html_event {
    HTML_EVENT_START = 1,
    HTML_EVENT_END = 2,
    HTML_EVENT_TEXT = 3,
};

typedef void (*html_event_handler)(void *context, enum html_event event, const char *text, size_t length);

/// Reads UTF-8 HTML with libxml2's forgiving parser and reports what it meets in reading order; elements that the
/// document forgot to close are closed. Fetches nothing, resolves nothing.
///
/// The wrapper exists because libxml2's headers pull in ICU's, which clash with Foundation's own copy.
///
/// @return 0, or -1 when no parser could be made.
int html_read(const char *bytes, int length, void *context, html_event_handler handler);

#endif
