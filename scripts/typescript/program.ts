// What an integrator writes first: type-checked against the client that `make client` generates.

import createClient from "openapi-fetch";
import type { components, paths } from "./api";

type Contact = components["schemas"]["Contact"];
type Problem = components["schemas"]["Problem"];

const api = createClient<paths>({
  baseUrl: "http://127.0.0.1:8000",
  headers: { Authorization: "Bearer ck_…" },
});

class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }

  get fields(): Record<string, string> {
    return Object.fromEntries((this.problem.errors ?? []).map((error) => [error.field, error.reason]));
  }
}

// Pages: `nextCursor` asks for the rows after these.
export async function* contacts(status: Contact["status"]): AsyncGenerator<Contact> {
  let cursor: string | undefined;
  do {
    const { data, error } = await api.GET("/api/v1/contacts", {
      params: { query: { status, limit: 200, sort: "-createdAt", cursor } },
    });
    if (!data) throw new Refused(error);
    yield* data.items;
    cursor = data.nextCursor ?? undefined;
  } while (cursor !== undefined);
}

export async function meet(phone: string): Promise<Contact> {
  const { data, error, response } = await api.POST("/api/v1/contacts", {
    body: { phone, firstName: "Ada", tags: ["vip"], customFields: { shirtSize: "M" } },
  });
  if (response.status === 409) console.warn("somebody has this number already");
  if (!data) throw new Refused(error);
  return data;
}

export async function rename(contact: Contact, firstName: string | null): Promise<Contact> {
  const { data, error } = await api.PATCH("/api/v1/contacts/{row_id}", {
    params: { path: { row_id: contact.id } },
    body: { firstName }, // what is absent stays, null clears
  });
  if (!data) throw new Refused(error);
  return data;
}

export async function read(contact: Contact): Promise<string[]> {
  const talks = await api.GET("/api/v1/conversations", {
    params: { query: { contactId: contact.id, status: "active" } },
  });
  if (!talks.data) throw new Refused(talks.error);
  const [talk] = talks.data.items;
  if (talk === undefined) return [];
  const messages = await api.GET("/api/v1/conversations/{conversation_id}/messages", {
    params: { path: { conversation_id: talk.id }, query: { sort: "createdAt" } },
  });
  if (!messages.data) throw new Refused(messages.error);
  return messages.data.items.map((message) => `${message.direction}: ${message.content}`);
}

export async function forget(contact: Contact): Promise<void> {
  const { error } = await api.DELETE("/api/v1/contacts/{row_id}", {
    params: { path: { row_id: contact.id } },
  });
  if (error) throw new Refused(error);
}

// What must not compile.
export async function mistakes(contact: Contact): Promise<void> {
  // @ts-expect-error: there is no such status
  await api.POST("/api/v1/contacts", { body: { status: "vip" } });
  // @ts-expect-error: nobody sets when a row was made
  await api.POST("/api/v1/contacts", { body: { createdAt: contact.createdAt } });
  // @ts-expect-error: a conversation has a channel
  await api.POST("/api/v1/conversations", { body: { subject: "Hello" } });
  // @ts-expect-error: there is no such order
  await api.GET("/api/v1/contacts", { params: { query: { sort: "shoeSize" } } });
  // @ts-expect-error: a first name may be null
  contact.firstName.length;
}
