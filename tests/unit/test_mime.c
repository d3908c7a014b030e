/* test_mime.c -- the media type by a name's ending. */
#include "net/http/mime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_types(void **state) {
    static const char *const types[][2] = {
        {"index.html", "text/html; charset=utf-8"},
        {"a/b/APP.JS", "text/javascript; charset=utf-8"},
        {"app.min.mjs", "text/javascript; charset=utf-8"},
        {"app.js.map", "application/json"},
        {"a.css", "text/css; charset=utf-8"},
        {"a.json", "application/json"},
        {"a.svg", "image/svg+xml; charset=utf-8"},
        {"a.png", "image/png"},
        {"a.jpg", "image/jpeg"},
        {"a.gif", "image/gif"},
        {"a.webp", "image/webp"},
        {"favicon.ico", "image/x-icon"},
        {"a.woff2", "font/woff2"},
        {"a.wasm", "application/wasm"},
        {"a.txt", "text/plain; charset=utf-8"},
        {"README.md", "text/markdown; charset=utf-8"},
        {"a.mp3", "audio/mpeg"},
        {"a.ogg", "audio/ogg"},
        {"a.wav", "audio/wav"},
        {"a.mp4", "video/mp4"},
        {"a.webm", "video/webm"},
        {"a.pdf", "application/pdf"},
        {"a.xml", "text/xml; charset=utf-8"},
        {"a.webmanifest", "application/manifest+json"},
        {"a.xhtml", "application/xhtml+xml"},
        {"a.m3u8", "application/vnd.apple.mpegurl"},
        {"a.ts", "video/mp2t"},
        {"a.mpd", "application/dash+xml"},
        {"a.m4a", "audio/mp4"},
        {"a.FLAC", "audio/flac"},
        {"a.opus", "audio/ogg"},
        {"a.aac", "audio/aac"},
        {"a.mov", "video/quicktime"},
        {"a.glb", "model/gltf-binary"},
        {"a.gltf", "model/gltf+json"},
        {"a.atom", "application/atom+xml"},
        {"a.rss", "application/rss+xml"},
        {"a.vtt", "text/vtt; charset=utf-8"},
        {"a.ics", "text/calendar; charset=utf-8"},
        {"a.yaml", "application/yaml"},
        {"a.jsonld", "application/ld+json"},
        {"a.bmp", "image/bmp"},
        {"a.tiff", "image/tiff"},
        {"a.jxl", "image/jxl"},
        {"a.eot", "application/vnd.ms-fontobject"},
        {"a.epub", "application/epub+zip"},
        {"a.tar.gz", "application/gzip"},
        {"a.7z", "application/x-7z-compressed"},
        {".well-known/apple-app-site-association", "application/json"},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        assert_string_equal(mime_type(slice_of(types[i][0])), types[i][1]);
}

static void test_unknown_ones(void **state) {
    static const char *const names[] = {
        "", ".", "html", "a.", "a.unknown", "a.html/b", "a.html.", "openid-configuration-not"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_string_equal(mime_type(slice_of(names[i])), "application/octet-stream");
    assert_string_equal(mime_type((struct slice){NULL, 0}), "application/octet-stream");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_unknown_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
