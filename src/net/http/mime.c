/* mime.c -- the media type of a file, by the ending of its name. See mime.h.
 *
 * The types registered with IANA; for the others, those that browsers and other servers use. */
#include "net/http/mime.h"

#define UTF8 "; charset=utf-8"

/* Each type with the endings of its files, which spaces separate. */
static const struct {
    const char *type, *endings;
} TYPES[] = {
    /* pages and what belongs to them */
    {"text/html" UTF8, "html htm shtml"},
    {"application/xhtml+xml", "xhtml xht"},
    {"text/javascript" UTF8, "js mjs cjs jsx"},
    {"text/css" UTF8, "css"},
    {"application/wasm", "wasm"},
    {"application/json", "map json topojson har"},
    {"application/manifest+json", "webmanifest"},
    {"text/cache-manifest" UTF8, "appcache"},
    /* data */
    {"application/json5", "json5"},
    {"application/jsonl", "jsonl"},
    {"application/x-ndjson", "ndjson"},
    {"application/ld+json", "jsonld"},
    {"application/geo+json", "geojson"},
    {"text/xml" UTF8, "xml"},
    {"application/xslt+xml", "xsl xslt"},
    {"application/xml", "xsd"},
    {"application/xml-dtd", "dtd"},
    {"application/atom+xml", "atom"},
    {"application/rss+xml", "rss"},
    {"application/rdf+xml", "rdf"},
    {"text/x-opml" UTF8, "opml"},
    {"application/gpx+xml", "gpx"},
    {"application/vnd.google-earth.kml+xml", "kml"},
    {"application/vnd.google-earth.kmz", "kmz"},
    {"application/yaml", "yaml yml"},
    {"application/toml", "toml"},
    {"application/sql", "sql"},
    {"application/vnd.sqlite3", "sqlite sqlite3"},
    {"application/cbor", "cbor"},
    {"text/turtle" UTF8, "ttl"},
    {"text/n3" UTF8, "n3"},
    {"application/n-triples", "nt"},
    {"application/n-quads", "nq"},
    {"application/graphql", "graphql"},
    {"application/x-protobuf", "pbf"},
    {"application/vnd.mapbox-vector-tile", "mvt"},
    {"application/vnd.pmtiles", "pmtiles"},
    {"application/geopackage+sqlite3", "gpkg"},
    {"application/vnd.apache.arrow.file", "arrow"},
    {"application/vnd.apache.parquet", "parquet"},
    /* text */
    {"text/plain" UTF8, "txt text log conf ini asc"},
    {"text/x-diff" UTF8, "diff patch"},
    {"text/markdown" UTF8, "md markdown"},
    {"text/csv" UTF8, "csv"},
    {"text/tab-separated-values" UTF8, "tsv"},
    {"text/calendar" UTF8, "ics"},
    {"text/vcard" UTF8, "vcf vcard"},
    {"text/vtt" UTF8, "vtt"},
    {"application/x-subrip", "srt"},
    {"application/ttml+xml", "ttml"},
    {"application/rtf", "rtf"},
    {"text/x-lua" UTF8, "lua"},
    {"text/x-python" UTF8, "py"},
    {"text/x-c" UTF8, "c h"},
    {"application/x-sh", "sh"},
    /* pictures */
    {"image/svg+xml" UTF8, "svg"},
    {"image/png", "png"},
    {"image/apng", "apng"},
    {"image/jpeg", "jpg jpeg jpe jfif"},
    {"image/gif", "gif"},
    {"image/webp", "webp"},
    {"image/avif", "avif"},
    {"image/heic", "heic"},
    {"image/heif", "heif"},
    {"image/jxl", "jxl"},
    {"image/jp2", "jp2"},
    {"image/bmp", "bmp"},
    {"image/tiff", "tif tiff"},
    {"image/x-icon", "ico cur"},
    {"image/vnd.adobe.photoshop", "psd"},
    {"image/ktx", "ktx"},
    {"image/ktx2", "ktx2"},
    {"image/vnd.ms-dds", "dds"},
    {"image/vnd.wap.wbmp", "wbmp"},
    /* fonts */
    {"font/woff", "woff"},
    {"font/woff2", "woff2"},
    {"font/ttf", "ttf"},
    {"font/otf", "otf"},
    {"font/collection", "ttc"},
    {"application/vnd.ms-fontobject", "eot"},
    /* sound */
    {"audio/mpeg", "mp3 mp2"},
    {"audio/mp4", "m4a m4b"},
    {"audio/aac", "aac"},
    {"audio/ogg", "ogg oga opus spx"},
    {"audio/wav", "wav"},
    {"audio/webm", "weba"},
    {"audio/flac", "flac"},
    {"audio/matroska", "mka"},
    {"audio/midi", "mid midi kar"},
    {"audio/aiff", "aif aiff aifc"},
    {"audio/basic", "au"},
    {"audio/x-ms-wma", "wma"},
    {"audio/x-realaudio", "ra"},
    {"audio/ac3", "ac3"},
    {"audio/AMR", "amr"},
    {"audio/x-caf", "caf"},
    {"application/xspf+xml", "xspf"},
    {"audio/mpegurl", "m3u"},
    {"audio/x-scpls", "pls"},
    /* film, and the lists that it is streamed by */
    {"video/mp4", "mp4 m4v mp4v"},
    {"video/iso.segment", "m4s"},
    {"video/webm", "webm"},
    {"video/ogg", "ogv"},
    {"application/ogg", "ogx"},
    {"video/quicktime", "mov qt"},
    {"video/matroska", "mkv"},
    {"video/x-msvideo", "avi"},
    {"video/x-ms-wmv", "wmv"},
    {"video/x-ms-asf", "asf asx"},
    {"video/x-flv", "flv"},
    {"video/mpeg", "mpg mpeg mpe"},
    {"video/3gpp", "3gp 3gpp"},
    {"video/3gpp2", "3g2"},
    {"video/mp2t", "ts m2ts"},
    {"application/vnd.apple.mpegurl", "m3u8"},
    {"application/dash+xml", "mpd"},
    /* models */
    {"model/gltf-binary", "glb vrm"},
    {"model/gltf+json", "gltf"},
    {"model/3mf", "3mf"},
    {"model/obj", "obj"},
    {"model/mtl", "mtl"},
    {"model/stl", "stl"},
    {"model/vnd.usdz+zip", "usdz"},
    {"model/vnd.collada+xml", "dae"},
    {"model/step", "step"},
    {"model/vrml", "wrl"},
    /* documents */
    {"application/pdf", "pdf"},
    {"application/epub+zip", "epub"},
    {"application/vnd.amazon.mobi8-ebook", "azw3"},
    {"application/vnd.comicbook+zip", "cbz"},
    {"application/vnd.comicbook-rar", "cbr"},
    {"message/rfc822", "eml mht mhtml"},
    {"application/mathml+xml", "mml"},
    {"application/x-mobipocket-ebook", "mobi"},
    {"application/postscript", "ps eps ai"},
    {"application/x-tex", "tex"},
    {"application/msword", "doc"},
    {"application/vnd.ms-excel", "xls"},
    {"application/vnd.ms-powerpoint", "ppt"},
    {"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"},
    {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"},
    {"application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx"},
    {"application/vnd.oasis.opendocument.text", "odt"},
    {"application/vnd.oasis.opendocument.spreadsheet", "ods"},
    {"application/vnd.oasis.opendocument.presentation", "odp"},
    {"application/vnd.oasis.opendocument.graphics", "odg"},
    /* archives and programs */
    {"application/zip", "zip"},
    {"application/gzip", "gz tgz"},
    {"application/x-bzip2", "bz2"},
    {"application/x-xz", "xz"},
    {"application/zstd", "zst"},
    {"application/x-tar", "tar"},
    {"application/x-7z-compressed", "7z"},
    {"application/vnd.rar", "rar"},
    {"application/java-archive", "jar war"},
    {"application/vnd.android.package-archive", "apk"},
    {"application/vnd.debian.binary-package", "deb"},
    {"application/x-rpm", "rpm"},
    {"application/x-apple-diskimage", "dmg"},
    {"application/x-iso9660-image", "iso"},
    {"application/x-msi", "msi"},
    {"application/vnd.ms-cab-compressed", "cab"},
    {"application/x-chrome-extension", "crx"},
    {"application/x-xpinstall", "xpi"},
    {"application/x-bittorrent", "torrent"},
    {"application/vnd.adobe.flash.movie", "swf"},
    {"application/x-java-jnlp-file", "jnlp"},
    /* keys and signatures */
    {"application/pem-certificate-chain", "pem"},
    {"application/x-x509-ca-cert", "crt der"},
    {"application/pkix-cert", "cer"},
    {"application/pkix-crl", "crl"},
    {"application/pkcs7-signature", "p7s"},
    {"application/pkcs12", "p12 pfx"},
    {"application/pgp-signature", "sig"},
    {"application/x-apple-aspen-config", "mobileconfig"},
};

/* Names without an ending that programs request and expect as JSON (RFC 8615). */
static const char *const JSON_NAMES[] = {"apple-app-site-association", "openid-configuration",
                                         "oauth-authorization-server", "nodeinfo"};

/* Is the ending, in any case, one of these words? */
static bool is_one_of(struct slice ending, const char *words) {
    for (size_t len; *words != '\0'; words += len + (words[len] == ' ')) {
        len = strcspn(words, " ");
        if (len == ending.len && strncasecmp(words, ending.bytes, len) == 0)
            return true;
    }
    return false;
}

const char *mime_type(struct slice name) {
    size_t start = name.len;
    while (start > 0 && name.bytes[start - 1] != '.' && name.bytes[start - 1] != '/')
        start--;
    struct slice ending = {name.bytes + start, name.len - start};
    bool dot = start > 0 && name.bytes[start - 1] == '.';
    for (size_t i = 0; dot && i < sizeof(TYPES) / sizeof(TYPES[0]); i++)
        if (is_one_of(ending, TYPES[i].endings))
            return TYPES[i].type;
    for (size_t i = 0; !dot && i < sizeof(JSON_NAMES) / sizeof(JSON_NAMES[0]); i++)
        if (slice_is(ending, JSON_NAMES[i]))
            return "application/json";
    return "application/octet-stream";
}
