#include <libpq-fe.h>

/// How many bytes of a record OpenSSL, which libpq's own TLS is, has read and not yet given out.
int SSL_pending(const void *ssl);
