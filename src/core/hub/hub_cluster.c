/* hub_cluster.c -- other machines: requests to the link, and single connections elsewhere. See
 * hub.h.
 *
 * A request is a slot until its answer comes by mail. Nothing here waits: the caller's function is
 * called when mail is delivered, and wakes a task. */
#include "core/hub/hub_internal.h"

#include "base/mem.h"

#include <string.h>

struct request {
    hub_answer_fn *on_answer;
    void *user;
    uint64_t context;
    bool is_answered;
    enum link_status status;
    struct slice body; /* owned */
};

bool hub_has_cluster(const struct hub *hub) {
    return hub_has_link(hub);
}

void hub_cluster_figures(const struct hub *hub, bus_figure_fn *add, void *context) {
    if (hub->options.bus != NULL)
        bus_link_figures(hub->options.bus, add, context);
}

/* ---- requests ---- */

static void request_free(struct request *request) {
    mem_free((char *)request->body.bytes);
    mem_free(request);
}

uint64_t hub_cluster_request(struct hub *hub, enum link_request kind, struct slice body,
                             hub_answer_fn *on_answer, void *user, uint64_t context) {
    if (!hub_has_link(hub))
        return 0;
    struct request *request = mem_zalloc(sizeof *request);
    request->on_answer = on_answer;
    request->user = user;
    request->context = context;
    uint64_t number = slots_add(&hub->requests, request);
    if (number == 0)
        request_free(request);
    else
        bus_request(hub->options.bus, hub->options.worker, kind, body, number);
    return number;
}

bool hub_cluster_answer(struct hub *hub, uint64_t number, enum link_status *status,
                        struct slice *body) {
    const struct request *request = slots_find(&hub->requests, number);
    if (request == NULL || !request->is_answered)
        return false;
    *status = request->status;
    *body = request->body;
    return true;
}

void hub_cluster_forget(struct hub *hub, uint64_t number) {
    struct request *request = slots_find(&hub->requests, number);
    if (request == NULL)
        return;
    slots_remove(&hub->requests, number);
    request_free(request);
}

void hub_cluster_answered(struct hub *hub, const struct mail *mail) {
    struct request *request = slots_find(&hub->requests, mail->offset);
    if (request == NULL || request->is_answered)
        return;
    request->is_answered = true;
    request->status = (enum link_status)mail->code;
    if (mail->room.bytes != NULL)
        request->body =
            (struct slice){mem_strndup(mail->room.bytes, mail->room.len), mail->room.len};
    request->on_answer(request->user, request->context);
}

void hub_cluster_forget_all(struct hub *hub) {
    uint32_t at = 0;
    for (struct request *request; (request = slots_next(&hub->requests, &at)) != NULL;)
        request_free(request);
    slots_close(&hub->requests);
}

bool hub_room_must_sync(struct hub *hub, struct slice room) {
    return hub_has_link(hub) && bus_room_must_sync(hub->options.bus, room);
}

/* ---- single connections ---- */

/* Copies the text of an id of another machine. False: it is none. */
static bool is_away(const struct hub *hub, struct slice id, char text[CONN_ID_LEN + 1]) {
    char own[CONN_ID_LEN + 1];
    conn_id number;
    if (!hub_has_link(hub) || id.len != CONN_ID_LEN || conn_id_parse(id.bytes, id.len, &number))
        return false;
    conn_id_format(own, 0);
    memcpy(text, id.bytes, CONN_ID_LEN);
    text[CONN_ID_LEN] = '\0';
    return memcmp(text, own, CONN_ID_NODE_LEN) != 0 || conn_id_find(text, CONN_ID_LEN, &number);
}

enum link_status hub_send_away(struct hub *hub, struct slice id, const struct encoding *encodings,
                               uint32_t count) {
    char text[CONN_ID_LEN + 1];
    enum link_status status = is_away(hub, id, text)
                                  ? bus_send_away(hub->options.bus, text, encodings, count)
                                  : LINK_REFUSED;
    for (uint32_t i = 0; i < count; i++)
        if (encodings[i].message != NULL)
            message_unref(encodings[i].message);
    return status;
}

enum link_status hub_close_away(struct hub *hub, struct slice id, unsigned code,
                                struct slice reason) {
    char text[CONN_ID_LEN + 1];
    return is_away(hub, id, text) ? bus_close_away(hub->options.bus, text, code, reason)
                                  : LINK_REFUSED;
}
