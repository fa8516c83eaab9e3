#include "html_reader.h"

#include <libxml/HTMLparser.h>
#include <libxml/parserInternals.h>
#include <string.h>

struct reader {
    void *context;
    html_event_handler handler;
};

static void on_start(void *data, const xmlChar *name, const xmlChar **attributes) {
    (void)attributes;
    struct reader *reader = data;
    reader->handler(reader->context, HTML_EVENT_START, (const char *)name, strlen((const char *)name));
}

static void on_end(void *data, const xmlChar *name) {
    struct reader *reader = data;
    reader->handler(reader->context, HTML_EVENT_END, (const char *)name, strlen((const char *)name));
}

static void on_text(void *data, const xmlChar *text, int length) {
    struct reader *reader = data;
    reader->handler(reader->context, HTML_EVENT_TEXT, (const char *)text, (size_t)length);
}

int html_read(const char *bytes, int length, void *context, html_event_handler handler) {
    struct reader reader = {context, handler};
    htmlSAXHandler sax;
    memset(&sax, 0, sizeof sax);
    sax.startElement = on_start;
    sax.endElement = on_end;
    sax.characters = on_text;
    sax.ignorableWhitespace = on_text;
    sax.cdataBlock = on_text;

    if (length == 0) return 0;
    htmlParserCtxtPtr parser = htmlCreateMemoryParserCtxt(bytes, length);
    if (parser == NULL) return -1;
    memcpy(parser->sax, &sax, sizeof sax);
    parser->userData = &reader;
    htmlCtxtUseOptions(
        parser, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET | HTML_PARSE_IGNORE_ENC);
    xmlSwitchEncoding(parser, XML_CHAR_ENCODING_UTF8);
    htmlParseDocument(parser);
    htmlFreeParserCtxt(parser);
    return 0;
}
