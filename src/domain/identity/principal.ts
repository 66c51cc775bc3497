/** Somebody that a credential stands for. Ids are canonical UUIDs. */
export type Principal = OperatorPrincipal | ServicePrincipal | UserPrincipal | ApiKeyPrincipal;

/** The operator of the installation: may do everything. */
export interface OperatorPrincipal {
  readonly type: "operator";
}

/** A backend of one account. */
export interface ServicePrincipal {
  readonly type: "service";
  readonly accountId: string;
  readonly serviceTokenId: string;
}

/** A person, vouched for by the identity provider. */
export interface UserPrincipal {
  readonly type: "user";
  readonly accountId: string;
  /** The `sub` claim. */
  readonly subject: string;
  readonly roles: ReadonlySet<string>;
  /** Holds the installation's ADMIN_ROLE. */
  readonly admin: boolean;
}

/** A web map that carries a publishable key, whose restrictions this very request has passed. */
export interface ApiKeyPrincipal {
  readonly type: "api_key";
  readonly accountId: string;
  readonly apiKeyId: string;
  /** Datasets beyond the public ones that the key opens. */
  readonly datasetIds: ReadonlySet<string>;
}

/** Who makes a request: everybody whose credential came with it. Empty means anonymous. */
export type Caller = readonly Principal[];

/** The operator, acting through the command line or the service itself. */
export const OPERATOR: Caller = [{ type: "operator" }];
