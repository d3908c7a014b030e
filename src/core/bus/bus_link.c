/* bus_link.c -- between the workers and the link to other machines. See bus.h and link.h.
 *
 * Items enter the link's queue in the step that changes the bus, under its lock: the link gets
 * broadcasts, joins and leaves in the order in which the workers see them. What comes from other
 * machines is posted to the workers in one step, too. */
#include "core/bus/bus_parts.h"

#include "base/mem.h"

#include <string.h>

/* ---- life ---- */

/* Under the lock: a watch from before, such as of code at the top level of a script. */
static void push_watch(void *user, struct table_entry *entry) {
    struct wakeups wakeups = {0}; /* the link's thread looks when it starts */
    bus_push_watch(user, entry->key, true, &wakeups);
}

void bus_open_link(struct bus *bus, size_t max_bytes, unsigned servers, link_server_fn *server_of,
                   void (*wake)(void *user), void *user) {
    uv_mutex_lock(&bus->link_wake.lock);
    bus->link_wake.call = wake;
    bus->link_wake.user = user;
    uv_mutex_unlock(&bus->link_wake.lock);
    uv_mutex_lock(&bus->lock);
    bus->link = mem_alloc(sizeof *bus->link);
    link_open(bus->link, max_bytes, servers, server_of);
    table_each(&bus->directory.watched, push_watch, bus);
    atomic_store(&bus->has_link, true);
    atomic_store(&bus->is_alone, false);
    uv_mutex_unlock(&bus->lock);
}

void bus_close_link(struct bus *bus) {
    uv_mutex_lock(&bus->link_wake.lock);
    bus->link_wake.call = NULL;
    uv_mutex_unlock(&bus->link_wake.lock);
    uv_mutex_lock(&bus->lock);
    link_close(bus->link);
    uv_mutex_unlock(&bus->lock);
}

bool bus_has_link(const struct bus *bus) {
    return atomic_load_explicit(&bus->has_link, memory_order_relaxed);
}

_Atomic uint64_t *bus_link_backlog(struct bus *bus) {
    return &bus->link_backlog;
}

void bus_set_link_figures(struct bus *bus, bus_figures_fn *figures, void *user) {
    bus->link_figures = figures;
    bus->link_figures_user = user;
}

void bus_link_figures(const struct bus *bus, bus_figure_fn *add, void *context) {
    if (atomic_load(&bus->has_link)) /* they were set before the link was opened */
        bus->link_figures(bus->link_figures_user, add, context);
}

/* ---- items ---- */

void bus_push_item(struct bus *bus, struct link_item *item, struct wakeups *wakeups) {
    wakeups->link |= link_push(bus->link, item);
}

void bus_push_member(struct bus *bus, enum link_item_kind kind, const struct room_entry *entry,
                     conn_id id, struct wakeups *wakeups) {
    if (bus->link == NULL)
        return;
    struct slice room = room_entry_room(entry);
    struct link_item *item;
    if (kind == LINK_LEFT) {
        item = link_item_new(kind, room, (struct slice){NULL, 0});
    } else {
        const char *name = room_entry_name(entry), *info = room_entry_info(entry);
        const struct link_member member = {
            {name, strlen(name)},
            {info, info == NULL ? 0 : strlen(info)},
            is_user_room(room) ? (struct slice){NULL, 0} : bus_user_of(bus, id),
        };
        item = link_item_new_member(kind, room, &member);
        item->is_hidden = room_memory_hides_members(&bus->memory, room);
    }
    conn_id_format(item->id, id);
    item->posts = bus->posts;
    bus_push_item(bus, item, wakeups);
}

void bus_push_watch(struct bus *bus, struct slice room, bool on, struct wakeups *wakeups) {
    struct link_item *item = link_item_new(LINK_WATCH, room, (struct slice){NULL, 0});
    item->on = on;
    bus_push_item(bus, item, wakeups);
}

bool bus_is_ordered(const struct bus *bus, struct slice room) {
    return link_is_ordered(bus->link, room) && room_memory_applies(&bus->memory, room);
}

void bus_push_broadcast(struct bus *bus, const struct broadcast *broadcast, bool is_ordered,
                        struct wakeups *wakeups) {
    if (bus->link == NULL || bus->link->is_closed)
        return;
    struct link_item *item = link_item_new(LINK_PUBLISH, broadcast->room, (struct slice){NULL, 0});
    if (broadcast->except_text != NULL)
        memcpy(item->id, broadcast->except_text, CONN_ID_LEN);
    else if (broadcast->except != 0)
        conn_id_format(item->id, broadcast->except);
    item->endpoint = broadcast->endpoint;
    item->is_ordered = is_ordered;
    if (broadcast->room.bytes != NULL && atomic_load(&bus->remembers))
        room_memory_limits(&bus->memory, broadcast->room, item->limits);
    link_item_set_encodings(item, broadcast->encodings, broadcast->encoding_count);
    bus_push_item(bus, item, wakeups);
}

void bus_push_clear(struct bus *bus, struct slice room, const struct slice *key,
                    struct wakeups *wakeups) {
    struct link_item *item =
        link_item_new(LINK_CLEAR, room, key == NULL ? (struct slice){NULL, 0} : *key);
    item->on = key != NULL;
    if (room_memory_limits(&bus->memory, room, item->limits))
        bus_push_item(bus, item, wakeups);
    else
        link_item_free(item);
}

void bus_push_rules(struct bus *bus, struct wakeups *wakeups) {
    static const struct slice none = {NULL, 0};
    bus_push_item(bus, link_item_new(LINK_RULES, none, none), wakeups);
}

struct link_item *bus_take_items(struct bus *bus, uint64_t *dropped) {
    uv_mutex_lock(&bus->lock);
    struct link_item *items = link_take(bus->link);
    *dropped = link_take_dropped(bus->link);
    uv_mutex_unlock(&bus->lock);
    return items;
}

/* ---- for workers ---- */

/* Under the lock. */
static void post_answer(struct bus *bus, struct link_token token, enum link_status status,
                        struct slice body, struct wakeups *wakeups) {
    struct mail *mail = mail_new(MAIL_ANSWER, body);
    mail->offset = token.number;
    mail->code = status;
    bus_post(bus, token.worker, mail, wakeups);
}

bool bus_request(struct bus *bus, unsigned worker, enum link_request request, struct slice body,
                 uint64_t number) {
    static const struct slice none = {NULL, 0};
    struct wakeups wakeups = {0};
    const struct link_token token = {worker, number};
    if (!bus_has_link(bus))
        return false;
    struct link_item *item = link_item_new(LINK_REQUEST, none, body);
    item->request = request;
    item->token = token;
    uv_mutex_lock(&bus->lock);
    if (bus->link->is_closed) {
        link_item_free(item);
        post_answer(bus, token, LINK_UNREACHABLE, none, &wakeups);
    } else {
        bus_push_item(bus, item, &wakeups);
    }
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
    return true;
}

bool bus_room_must_sync(struct bus *bus, struct slice room) {
    if (!bus_has_link(bus))
        return false;
    uv_mutex_lock(&bus->lock);
    bool must = link_is_up(bus->link, room) && !link_is_live(bus->link, room);
    uv_mutex_unlock(&bus->lock);
    return must;
}

/* Under the lock: can something be sent to the machine of this connection? Machines are reached by
 * the first server. */
static enum link_status reach(const struct bus *bus, const char *id) {
    conn_id number;
    if (bus->link == NULL ||
        (!link_machine_lives(bus->link, (struct slice){id, CONN_ID_NODE_LEN}) &&
         !conn_id_find(id, CONN_ID_LEN, &number))) /* else it has left this machine */
        return LINK_REFUSED;
    return bus->link->up & 1 ? LINK_OK : LINK_UNREACHABLE;
}

/* Pushes an item for a connection of another machine, or frees it. */
static enum link_status push_away(struct bus *bus, const char *id, struct link_item *item) {
    struct wakeups wakeups = {0};
    memcpy(item->id, id, CONN_ID_LEN);
    uv_mutex_lock(&bus->lock);
    enum link_status status = reach(bus, id);
    if (status == LINK_OK)
        bus_push_item(bus, item, &wakeups);
    else
        link_item_free(item);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
    return status;
}

enum link_status bus_send_away(struct bus *bus, const char id[CONN_ID_LEN + 1],
                               const struct encoding *encodings, uint32_t count) {
    static const struct slice none = {NULL, 0};
    struct link_item *item = link_item_new(LINK_SEND, none, none);
    link_item_set_encodings(item, encodings, count);
    return push_away(bus, id, item);
}

enum link_status bus_close_away(struct bus *bus, const char id[CONN_ID_LEN + 1], unsigned code,
                                struct slice reason) {
    struct link_item *item = link_item_new(LINK_CLOSE, (struct slice){NULL, 0}, reason);
    item->code = code;
    return push_away(bus, id, item);
}

/* ---- for the link's thread ---- */

/* Under the lock: to all workers. */
static void publish(struct bus *bus, const struct broadcast *broadcast, const char *except,
                    const struct memory_position *position, bool remember_only,
                    struct wakeups *wakeups) {
    struct broadcast here = *broadcast;
    struct memory_position local = {0};
    if (!conn_id_parse(except, strlen(except), &here.except))
        here.except = 0;
    if (position->is_local) {
        local.offset = bus_remember(bus, &here, wakeups);
        position = &local;
    } else if (position->offset != 0) {
        bus_remember_numbered(bus, &here, position, wakeups);
    }
    if (!remember_only)
        bus_post_broadcast(bus, BUS_MAX_WORKERS, &here, position, wakeups);
}

void bus_link_publish(struct bus *bus, const struct broadcast *broadcast, const char *except,
                      const struct memory_position *position, bool remember_only) {
    struct wakeups wakeups = {0};
    uv_mutex_lock(&bus->lock);
    bus->posts += !remember_only;
    publish(bus, broadcast, except, position, remember_only, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}

/* Under the lock: delivers what waits for the order of a server. */
static void publish_ordered(struct bus *bus, unsigned server, struct wakeups *wakeups) {
    static const struct memory_position local = {.is_local = true};
    for (struct link_item *item = bus->link->first; item != NULL; item = item->next) {
        if (item->kind != LINK_PUBLISH || !item->is_ordered ||
            bus->link->server_of(item->room, bus->link->servers) != server)
            continue;
        const struct broadcast broadcast = {
            .room = item->room,
            .endpoint = item->endpoint,
            .encodings = item->encodings,
            .encoding_count = item->encoding_count,
        };
        publish(bus, &broadcast, item->id, &local, false, wakeups);
        item->is_ordered = false;
    }
}

void bus_link_set_ordered(struct bus *bus, unsigned server, bool is_ordered) {
    struct wakeups wakeups = {0};
    uv_mutex_lock(&bus->lock);
    link_set_ordered(bus->link, server, is_ordered);
    if (!is_ordered)
        publish_ordered(bus, server, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}

void bus_link_send(struct bus *bus, const char *id, const struct encoding *encodings,
                   uint32_t count) {
    struct wakeups wakeups = {0};
    conn_id number;
    if (!conn_id_parse(id, strlen(id), &number))
        return;
    uv_mutex_lock(&bus->lock);
    const struct conn_entry *conn = bus_find_open_conn(bus, number);
    if (conn != NULL) {
        uint32_t codec = bus_codec_on(bus, conn_id_worker(number), conn->endpoint);
        for (uint32_t i = 0; i < count; i++)
            if (encodings[i].codec == codec && encodings[i].message != NULL) {
                bus_post_send(bus, conn, codec, encodings[i].message, &wakeups);
                break;
            }
    }
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}

void bus_link_close(struct bus *bus, const char *id, unsigned code, struct slice reason) {
    conn_id number;
    if (conn_id_parse(id, strlen(id), &number))
        bus_close(bus, number, code, reason);
}

void bus_link_answer(struct bus *bus, struct link_token token, enum link_status status,
                     struct slice body) {
    struct wakeups wakeups = {0};
    uv_mutex_lock(&bus->lock);
    post_answer(bus, token, status, body, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}

void bus_link_set_live(struct bus *bus, struct slice room, bool is_live) {
    uv_mutex_lock(&bus->lock);
    link_set_live(bus->link, room, is_live);
    uv_mutex_unlock(&bus->lock);
}

void bus_link_set_up(struct bus *bus, unsigned server, bool is_up) {
    uv_mutex_lock(&bus->lock);
    link_set_up(bus->link, server, is_up);
    uv_mutex_unlock(&bus->lock);
}

void bus_link_set_machine(struct bus *bus, struct slice id, bool lives) {
    uv_mutex_lock(&bus->lock);
    link_set_machine(bus->link, id, lives);
    uv_mutex_unlock(&bus->lock);
}
