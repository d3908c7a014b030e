/* remote_members.h -- the members that rooms have on other machines, and users that are online
 * there.
 *
 * What the link has told of the rooms that concern this machine. Beyond a number of bytes members
 * are counted, but their texts are not kept. One thread at a time: the bus locks. */
#ifndef TIDEWIRE_CORE_BUS_REMOTE_MEMBERS_H
#define TIDEWIRE_CORE_BUS_REMOTE_MEMBERS_H

#include "base/list.h"
#include "base/table.h"
#include "core/bus/link.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A member. The texts are NULL where it has none, and `endpoint_name` where they are not kept. */
struct remote_member {
    char id[CONN_ID_LEN + 1];
    const char *endpoint_name, *info; /* as JSON */
    struct slice user;
    /* private */
    struct table_entry entry;
    struct list link;
    struct remote_room *room;
    size_t bytes;
    char texts[];
};

/* All zeros is an empty one, with no limit in bytes. */
struct remote_members {
    size_t max, bytes;
    bool is_full; /* texts were not kept: set once more after there was room */
    /* private */
    struct table rooms, by_key, online;
};

void remote_members_close(struct remote_members *members);

/* Adds a member, or replaces it. `*before`: the old one, or NULL: the caller frees it with
 * remote_members_free(). Returns the new one. */
struct remote_member *remote_members_set(struct remote_members *members, struct slice room,
                                         const char *id, const struct link_member *member,
                                         struct remote_member **before);
/* Takes a member out: the caller frees it, or NULL: there is none. */
struct remote_member *remote_members_take(struct remote_members *members, struct slice room,
                                          const char *id);
void remote_members_free(struct remote_member *member); /* accepts NULL */
/* Forgets a room. */
void remote_members_forget(struct remote_members *members, struct slice room);

uint32_t remote_members_size(const struct remote_members *members, struct slice room);
bool remote_members_has(const struct remote_members *members, struct slice room, const char *id);
/* Calls f for each member. */
void remote_members_each(const struct remote_members *members, struct slice room,
                         void (*f)(void *user, const struct remote_member *member), void *user);

/* ---- users that are online on other machines, by their names ---- */

/* Returns true if that was new. */
bool remote_members_set_online(struct remote_members *members, struct slice name, bool is_online);
bool remote_members_is_online(const struct remote_members *members, struct slice name);
void remote_members_clear_online(struct remote_members *members);

#endif
